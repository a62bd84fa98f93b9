"use strict";
// Draws the report in this document and, where a daemon serves it, keeps it true.
// Text is only ever set as text: nothing from a document, a snapshot or a label becomes markup.
// Trees are drawn when their VM is unfolded, and never more than so many rows at once.
(() => {
  const LIVE = document.documentElement.dataset.live === "yes";
  const EVERY = 4000, PATIENCE = 8000, TICK = 5000; // milliseconds
  const ROWS = 300, FEW = 6, MOST_OPEN = 10;
  const MOODS = [
    ["failing", "Failing"], ["stalled", "Stalled"], ["working", "At work"], ["reconciling", "Reconciling"],
    ["suspended", "Suspended"], ["elsewhere", "Elsewhere"], ["ready", "Ready"],
  ];
  const RANK = new Map(MOODS.map(([mood], rank) => [mood, rank]));
  const WORDS = new Map(MOODS);
  const COMING = {
    adopt: "to be adopted", capture: "to be captured", destroy: "to be DESTROYED", fork: "to be forked",
    restore: "the guest is to go here", retire: "to be retired", revive: "to be revived", annotate: "",
  };
  const PATIENT = ["WhenManual", "ParentMissing", "OutsideWindow"]; // the same as in reconciler/render/status_view.py
  const GUEST = { off: "guest off", running: "guest runs", unknown: "guest: unknown" };
  const MARKS = {
    failing: "M8 1v9M8 13v2", stalled: "M8 1.5 15 14H1ZM8 6v4M8 11.5v1", working: "M8 2a6 6 0 1 1-6 6M8 5v3l2 2",
    reconciling: "M8 2v12M3 9l5 5 5-5", suspended: "M5 2v12M11 2v12", elsewhere: "M2 8h12M9 3l5 5-5 5", ready: "M2 9l4 4 8-10",
  };

  const $ = (id) => document.getElementById(id);
  const list = $("list");
  const vms = new Map(); // name -> what is shown of it
  let report = null, hostAt = 0, seenAt = 0, tag = "", failures = 0, lastGood = 0, chosen = "", wanted = [], first = true;

  // ---- words: the same as reconciler/render/units.py writes
  function bytes(count) {
    if (count === null || count === undefined) return "";
    if (Math.abs(count) < 1024) return `${count} B`;
    const units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let size = count / 1024, at = 0;
    while (Math.round(Math.abs(size) * 10) / 10 >= 1024 && at < 5) { size /= 1024; at += 1; }
    return `${size.toFixed(1)} ${units[at]}`;
  }
  function age(milliseconds) {
    const seconds = Math.floor(milliseconds / 1000);
    if (seconds < 0) return `in ${age(-milliseconds)}`;
    const day = 86400;
    for (const [limit, unit, name] of [[120, 1, "s"], [7200, 60, "min"], [2 * day, 3600, "h"], [90 * day, day, "d"], [730 * day, 30 * day, "mo"]]) {
      if (seconds < limit) return `${Math.floor(seconds / unit)} ${name}`;
    }
    return `${Math.floor(seconds / (365 * day))} y`;
  }
  const minute = (text) => `${text.slice(0, 10)} ${text.slice(11, 16)} UTC`;
  const many = (count, one, more) => `${count} ${count === 1 ? one : more || `${one}s`}`;
  // The host's time, also where this device's clock is wrong; a saved page keeps its moment.
  const now = () => (LIVE ? hostAt + Date.now() - seenAt : hostAt);

  function h(name, attributes, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (value === false || value === null || value === undefined || value === "") continue;
      if (key === "class") element.className = value;
      else element.setAttribute(key, value === true ? "" : value);
    }
    for (const child of children.flat()) if (child !== null && child !== undefined && child !== "") element.append(child);
    return element;
  }
  function since(text) {
    const time = h("time", { datetime: text, title: minute(text) });
    time.dataset.at = Date.parse(text);
    time.textContent = age(now() - time.dataset.at);
    return time;
  }
  function mark(mood) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    for (const [key, value] of Object.entries({ viewBox: "0 0 16 16", class: "mark", "aria-hidden": "true" })) svg.setAttribute(key, value);
    for (const [key, value] of Object.entries({ d: MARKS[mood], fill: "none", stroke: "currentColor", "stroke-width": "2", "stroke-linecap": "round", "stroke-linejoin": "round" })) path.setAttribute(key, value);
    svg.append(path);
    return svg;
  }

  // ---- what a VM is in one word, and why
  function moodOf(vm) {
    const work = vm.doing ? vm.doing.work : "idle";
    if (work === "backing-off") return "failing";
    if (vm.status.state === "Stalled") return "stalled";
    if (work === "working") return "working";
    return vm.status.state.toLowerCase();
  }
  const patient = (condition) => PATIENT.includes(condition.reason);
  const pressing = (blocks) => [...blocks.filter((one) => !patient(one)), ...blocks.filter(patient)];
  function whyOf(vm, mood) {
    const status = vm.status, doing = vm.doing;
    if (mood === "failing") return [`${many(doing.failures, "failure")} in a row: ${doing.error}`];
    if (mood === "stalled") {
      const blocks = pressing(status.blocked_by), reasons = [...new Set(blocks.map((block) => block.reason))];
      const nodes = [...new Set(blocks.filter((block) => block.node).map((block) => block.node))];
      return [reasons.slice(0, 2).join(", ") + (reasons.length > 2 ? ` and ${reasons.length - 2} more` : ""), nodes.length ? `: ${nodes.slice(0, 3).join(", ")}${nodes.length > 3 ? " …" : ""}` : ""];
    }
    if (mood === "working") return [doing.action || "at work", ", for ", since(doing.since)];
    if (mood === "suspended" || mood === "elsewhere") return [status.conditions[0].message];
    const parts = [];
    if (doing && doing.work === "queued") parts.push("queued, ");
    if (mood === "reconciling") parts.push(`${many(status.pending_actions, "action")} to be carried out, `);
    parts.push(status.position ? `at ${status.position}` : status.head ? "below no checkpoint" : "on no branch");
    return parts;
  }
  const plain = (parts) => parts.map((part) => (part.textContent === undefined ? part : part.textContent)).join("");
  function nodeText(node) {
    const labels = Object.entries(node.labels).map(([key, value]) => `${key}=${value}`);
    const reasons = node.conditions.map((condition) => condition.reason);
    return [node.name, node.phase, node.grade || "", node.about, node.group || "", ...labels, ...reasons].join("\n").toLowerCase();
  }

  // ---- the tree: the line from the root to where the guest is stands straight, everything else branches off it
  function arrange(shown) {
    const nodes = shown.data.tree.nodes, byName = new Map(nodes.map((node) => [node.name, node])), below = new Map();
    for (const node of nodes) {
      const parent = byName.has(node.parent) ? node.parent : null;
      if (!below.has(parent)) below.set(parent, []);
      below.get(parent).push(node);
    }
    const trunk = new Set();
    for (let node = nodes.find((one) => one.here); node && !trunk.has(node.name); node = byName.get(node.parent)) trunk.add(node.name);
    const bare = new Set();
    const foldable = (node) => node.automatic && !node.here && !node.conditions.length && !bare.has(node.name) && !hits(node);
    function kids(parent) {
      const kept = [], group = [], lifted = [];
      const waiting = [...(below.get(parent) || [])].reverse();
      const top = new Set(waiting);
      while (waiting.length) {
        const node = waiting.pop();
        if (foldable(node)) { group.push(node); waiting.push(...[...(below.get(node.name) || [])].reverse()); }
        else (top.has(node) ? kept : lifted).push(node);
      }
      const items = kept.map((node) => ({ node, key: node.name, trunk: trunk.has(node.name), kids: () => kids(node.name) }));
      if (!group.length) return items;
      if (group.length === 1) { bare.add(group[0].name); return kids(parent); }
      const key = `fold ${parent || ""}`, open = shown.unfolded.has(key);
      const fold = { fold: true, open, key, group, trunk: lifted.some((node) => trunk.has(node.name)) };
      if (open) {
        for (const node of group) bare.add(node.name);
        return [{ ...fold, trunk: false, kids: () => [] }, ...kids(parent)];
      }
      const under = lifted.map((node) => ({ node, key: node.name, trunk: trunk.has(node.name), kids: () => kids(node.name) }));
      return [...items, { ...fold, kids: () => under }];
    }
    const rows = [];
    function chain(item, column, rails, entry, place) {
      for (;;) {
        const under = item.kids();
        const main = under.find((one) => one.trunk) || [...under].reverse().find((one) => !one.fold && !one.node.automatic) || [...under].reverse().find((one) => !(one.fold && one.open));
        const sides = under.filter((one) => one !== main);
        rows.push({ item, column, rails, entry, down: under.length > 0, trunkDown: Boolean(main && main.trunk && item.trunk), ...place });
        const at = (one) => ({ level: place.level + 1, position: under.indexOf(one) + 1, size: under.length, parent: item.key });
        sides.forEach((side, index) => {
          const passes = main ? (main.trunk && item.trunk ? 2 : 1) : index < sides.length - 1 ? 1 : 0;
          chain(side, column + 1, [...rails, passes], "side", at(side));
        });
        if (!main) return;
        place = at(main);
        item = main;
        entry = "line";
      }
    }
    const roots = kids(null);
    roots.forEach((root, index) => chain(root, 0, [], "root", { level: 1, position: index + 1, size: roots.length, parent: null }));
    return rows;
  }

  function rails(row) {
    const cells = [];
    for (let column = 0; column < row.column; column += 1) {
      const passes = row.rails[column], last = column === row.column - 1 && row.entry === "side";
      const trunk = passes === 2 ? " trunk" : "";
      cells.push(h("i", { class: last ? (passes ? `tee${trunk}` : "ell") : passes ? `v${trunk}` : "" }));
    }
    const own = [];
    if (row.entry === "line") own.push("up", row.item.trunk ? "trunk-up" : "");
    if (row.down) own.push("down", row.trunkDown ? "trunk-down" : "");
    cells.push(h("i", { class: own.filter(Boolean).join(" ") }, h("span", { class: "dot" })));
    return h("span", { class: "rails", "aria-hidden": "true" }, cells);
  }

  const unsaved = (shown) => (shown.data.tree.unsaved_bytes ? `${bytes(shown.data.tree.unsaved_bytes)} unsaved` : "nothing unsaved");
  function tagsOf(node, shown) {
    const tags = [];
    if (node.here) tags.push(["here-tag", `you are here, ${unsaved(shown)}`]);
    if (node.phase !== "Present") tags.push([{ Lost: "loss", Waiting: "warn", Planned: "add" }[node.phase] || "", node.phase.toLowerCase()]);
    for (const verb of node.coming) {
      const text = verb in COMING ? COMING[verb] : verb.replace("rename", "to be renamed");
      if (text) tags.push([verb === "destroy" ? "loss" : verb === "retire" ? "warn" : "add", text]);
    }
    for (const condition of node.conditions) if (condition.reason !== node.phase) tags.push([{ refusal: "loss", wait: "warn" }[condition.severity] || "", condition.reason]);
    if (node.stray) tags.push(["warn", "not in the file"]);
    if (node.protect) tags.push(["", "protected"]);
    if (node.memory) tags.push(["", "with memory"]);
    if (node.group) tags.push(["", `group ${node.group}`]);
    if (!node.coming.includes("destroy")) {
      if (node.goes) tags.push(["", `goes ${minute(node.goes)}`]);
      else if (node.expires) tags.push(["", `expires ${minute(node.expires)}`]);
    }
    return tags;
  }
  const labelsOf = (node) => Object.entries(node.labels).map(([key, value]) => `${key}=${value}`).join(" ");
  function spoken(node, shown) {
    const parts = [node.name, ...tagsOf(node, shown).map(([, text]) => text)];
    if (node.grade) parts.push(node.grade);
    if (node.taken) parts.push(`taken ${age(now() - Date.parse(node.taken))} ago`);
    if (node.own_bytes !== null) parts.push(bytes(node.own_bytes));
    if (!node.automatic) parts.push(node.about);
    parts.push(labelsOf(node));
    return parts.filter(Boolean).join(", ");
  }
  function foldText(item) {
    return `${many(item.group.length, "automatic checkpoint")} ${item.open ? "shown" : "folded"}`;
  }
  function reason(condition) {
    return h("li", { class: condition.severity }, h("b", {}, condition.reason), condition.node && !condition.message.startsWith(`${condition.node} `) ? [" ", h("b", {}, condition.node)] : "", `: ${condition.message}`,
      condition.resolve ? h("span", { class: "edit" }, condition.resolve) : "");
  }
  function detail(node, id) {
    const pairs = [];
    const tell = (key, value) => { if (value) pairs.push(h("dt", {}, key), h("dd", {}, value)); };
    tell("Taken", node.taken && minute(node.taken));
    tell("Snapshot", node.snapshot && h("code", {}, node.snapshot));
    tell("Guid", node.guid && h("code", {}, node.guid));
    tell("Branch", node.branch);
    tell("Parent", node.parent || "none, a root");
    tell("Retired", node.retired && minute(node.retired));
    tell("Goes", node.goes && minute(node.goes));
    tell("Expires", node.expires && minute(node.expires));
    tell("Labels", labelsOf(node));
    return h("div", { class: "detail", id }, h("dl", {}, pairs), node.conditions.length ? h("ul", { class: "reasons" }, node.conditions.map(reason)) : "");
  }

  function drawRow(row, shown) {
    const { item } = row, node = item.node, chosenRow = shown.selected === item.key, id = `${shown.id}-detail`;
    const attributes = {
      role: "treeitem", tabindex: item.key === shown.stop ? "0" : "-1", "aria-level": row.level, "aria-posinset": row.position, "aria-setsize": row.size,
      "aria-selected": String(chosenRow && !item.fold),
    };
    let element;
    if (item.fold) {
      const size = item.group.reduce((sum, one) => sum + (one.own_bytes || 0), 0);
      element = h("div", { ...attributes, class: "node fold", "aria-label": `${foldText(item)}, ${bytes(size)}; Enter ${item.open ? "folds" : "shows"} them` },
        rails(row), h("div", { class: "what" }, h("span", { class: "title" }, `${item.open ? "▾" : "▸"} ${foldText(item)}`), h("span", { class: "num" }), h("span", { class: "num" }), h("span", { class: "num" }, bytes(size))));
    } else {
      const kind = ["node", node.phase.toLowerCase(), node.here ? "here" : "", node.automatic ? "auto" : "", wanted.length && hits(node) ? "hit" : ""];
      const about = [node.automatic ? "" : node.about, labelsOf(node) ? `[${labelsOf(node)}]` : ""].filter(Boolean).join(" ");
      element = h("div", { ...attributes, class: kind.filter(Boolean).join(" "), "aria-label": spoken(node, shown), "aria-describedby": chosenRow ? id : null, "aria-current": node.here ? "location" : null },
        rails(row), h("div", { class: "what" },
          h("span", { class: "title" }, h("span", { class: "name" }, node.name), tagsOf(node, shown).map(([kindOf, text]) => h("span", { class: `tag ${kindOf}` }, text))),
          h("span", { class: "num" }, node.grade || ""), h("span", { class: "num" }, node.taken ? since(node.taken) : ""), h("span", { class: "num" }, bytes(node.own_bytes)),
          about ? h("div", { class: "about" }, about) : "", chosenRow ? detail(node, id) : ""));
    }
    element.dataset.key = item.key;
    if (row.parent !== null) element.dataset.parent = row.parent;
    return element;
  }
  function drawTree(shown) {
    const all = arrange(shown);
    if (!all.length) return h("p", { class: "others" }, shown.data.tree.exists ? "no checkpoints yet" : "the dataset does not exist");
    const keys = new Set(all.slice(0, shown.limit).map((row) => row.item.key));
    if (!keys.has(shown.stop)) shown.stop = keys.has(shown.data.tree.position) ? shown.data.tree.position : all[0].item.key;
    const tree = h("div", { role: "tree", class: "tree", "aria-label": `Checkpoints of ${shown.name}` }, all.slice(0, shown.limit).map((row) => drawRow(row, shown)));
    if (all.length <= shown.limit) return tree;
    const left = all.length - shown.limit, more = h("button", { type: "button", class: "more" }, `show ${many(Math.min(left, ROWS), "more checkpoint")} of ${left}`);
    more.addEventListener("click", () => { const next = all[shown.limit].item.key; shown.limit += ROWS; drawBody(shown); focusRow(shown, next); });
    return h("div", {}, tree, more);
  }

  function doingLine(doing) {
    if (!doing || doing.work === "idle") return "";
    if (doing.work === "backing-off") {
      return h("p", { class: "doing failed" }, h("b", {}, `Failed ${many(doing.failures, "time")} in a row: `), doing.error, doing.retry ? ["; next try ", since(doing.retry)] : "");
    }
    return h("p", { class: "doing" }, h("b", {}, doing.work === "queued" ? "Queued" : "At work"), doing.action ? `: ${doing.action}` : "", ", for ", since(doing.since));
  }
  function others(title, names) {
    return names.length ? h("details", { class: "others" }, h("summary", {}, title), h("ul", {}, names.slice(0, 200).map((name) => h("li", {}, h("code", {}, name))), names.length > 200 ? h("li", {}, `and ${names.length - 200} more`) : "")) : "";
  }
  function drawBody(shown) {
    const { status, tree, doing } = shown.data, active = document.activeElement;
    const key = shown.body.contains(active) && active.dataset.key !== undefined ? active.dataset.key : null;
    const opened = shown.body.querySelector("details[open]") !== null;
    const blocked = new Set(status.blocked_by.map((one) => JSON.stringify(one)));
    const notes = [...tree.conditions, ...status.notes.filter((one) => !one.node)].filter((one) => !blocked.has(JSON.stringify(one)));
    const unique = [...new Map(notes.map((one) => [JSON.stringify(one), one])).values()];
    const reasons = [...pressing(status.blocked_by), ...unique].map(reason);
    for (const fault of tree.faults) reasons.push(reason({ severity: "refusal", reason: "Tampered", message: fault, resolve: "" }));
    for (const gap of tree.unreadable) reasons.push(reason({ severity: "wait", reason: "Could not be read", message: gap, resolve: "" }));
    const facts = [tree.dataset, GUEST[tree.guest] || "", tree.head ? `on ${tree.head}` : tree.exists ? "on no branch" : "", tree.position || !tree.head ? "" : `below no checkpoint: you are here, ${unsaved(shown)}`,
      tree.used_bytes === null ? "" : `${bytes(tree.used_bytes)} used`, tree.available_bytes === null ? "" : `${bytes(tree.available_bytes)} free`, status.file,
      status.observed_revision ? `revision ${status.observed_revision.slice(0, 12)}` : "", doing && doing.pause_seconds !== null ? `last pause ${doing.pause_seconds.toFixed(2)} s` : ""];
    shown.body.replaceChildren(...[doingLine(doing), reasons.length ? h("ul", { class: "reasons" }, reasons) : "", drawTree(shown),
      others(`${many(tree.foreign.snapshots.length, "foreign snapshot")}, never touched`, tree.foreign.snapshots),
      others(`${many(tree.foreign.datasets.length, "foreign dataset")}, never touched`, tree.foreign.datasets),
      h("p", { class: "facts" }, facts.filter(Boolean).map((fact) => h("span", {}, fact)))].filter(Boolean));
    if (opened) for (const one of shown.body.querySelectorAll("details")) one.open = true;
    if (key !== null) focusRow(shown, key);
  }
  const rowOf = (shown, key) => [...shown.body.querySelectorAll("[role=treeitem]")].find((row) => row.dataset.key === key);
  function focusRow(shown, key) {
    const row = rowOf(shown, key) || shown.body.querySelector("[role=treeitem]");
    if (!row) return;
    const before = shown.body.querySelector("[role=treeitem][tabindex='0']");
    if (before) before.tabIndex = -1;
    row.tabIndex = 0;
    shown.stop = row.dataset.key;
    row.focus();
  }

  function unfold(shown, open) {
    shown.open = open;
    shown.button.setAttribute("aria-expanded", String(open));
    shown.body.hidden = !open;
    if (open) drawBody(shown);
    else shown.body.replaceChildren();
  }
  function drawHead(shown) {
    const { status } = shown.data, why = whyOf(shown.data, shown.mood);
    shown.li.className = `vm ${shown.mood}`;
    shown.button.replaceChildren(mark(shown.mood), h("span", {}, h("span", { class: "name" }, shown.name), " ", h("span", { class: "word" }, WORDS.get(shown.mood))),
      h("span", { class: "why" }, why), h("span", { class: "sizes" }, status.used_bytes === null ? "" : bytes(status.used_bytes)));
  }
  function show(data) {
    const name = data.status.vm, json = JSON.stringify(data);
    let shown = vms.get(name);
    if (shown && shown.json === json) return;
    if (!shown) {
      const id = `vm-${vms.size}-${name}`;
      const button = h("button", { type: "button", "aria-expanded": "false", "aria-controls": id }), body = h("div", { class: "body", id, hidden: true });
      shown = { name, id, button, body, li: h("li", {}, h("h2", {}, button), body), open: false, unfolded: new Set(), selected: null, stop: null, limit: ROWS, mood: null };
      shown.li.dataset.vm = name;
      button.addEventListener("click", () => unfold(shown, !shown.open));
      vms.set(name, shown);
    }
    const before = shown.mood;
    Object.assign(shown, { data, json, mood: moodOf(data), text: null });
    drawHead(shown);
    if (shown.open) drawBody(shown);
    return before !== null && before !== shown.mood ? shown : undefined;
  }

  // ---- finding
  const hits = (node) => wanted.length > 0 && wanted.every((word) => nodeText(node).includes(word));
  function fits(shown) {
    if (chosen && shown.mood !== chosen) return false;
    if (!wanted.length) return true;
    if (shown.text === null) {
      const reasons = shown.data.status.blocked_by.map((one) => one.reason);
      shown.text = [shown.name, WORDS.get(shown.mood), ...reasons, ...shown.data.tree.nodes.map(nodeText)].join("\n").toLowerCase();
    }
    return wanted.every((word) => shown.text.includes(word));
  }
  function sift() {
    let count = 0;
    for (const shown of vms.values()) {
      shown.li.hidden = !fits(shown);
      if (!shown.li.hidden) count += 1;
    }
    $("none").hidden = count > 0 || !vms.size;
    return count;
  }
  function find() {
    wanted = $("find").value.toLowerCase().split(/\s+/).filter(Boolean);
    const count = sift();
    for (const shown of vms.values()) {
      if (shown.li.hidden) continue;
      const inside = wanted.length > 0 && !wanted.every((word) => shown.name.toLowerCase().includes(word));
      if (inside && !shown.open && count <= MOST_OPEN) { unfold(shown, true); shown.byFind = true; }
      else if (!inside && shown.open && shown.byFind) { unfold(shown, false); shown.byFind = false; }
      else if (shown.open) drawBody(shown);
    }
    say(`${many(count, "VM")} shown`);
  }
  function drawStates() {
    const counts = new Map();
    for (const shown of vms.values()) counts.set(shown.mood, (counts.get(shown.mood) || 0) + 1);
    if (chosen && !counts.has(chosen)) chosen = "";
    const focused = document.activeElement && document.activeElement.dataset.mood;
    $("states").replaceChildren(...[["", "All"], ...MOODS].filter(([mood]) => !mood || counts.has(mood)).map(([mood, word]) => {
      const button = h("button", { type: "button", "aria-pressed": String(mood === chosen) }, `${word} `, h("b", {}, String(mood ? counts.get(mood) : vms.size)));
      button.dataset.mood = mood;
      button.addEventListener("click", () => { chosen = mood; drawStates(); say(`${many(sift(), "VM")} shown`); });
      return button;
    }));
    if (focused !== undefined && focused !== null) { const again = [...$("states").children].find((one) => one.dataset.mood === focused); if (again) again.focus(); }
    return counts;
  }

  // ---- the whole
  let speaking = 0;
  function say(text) { clearTimeout(speaking); speaking = setTimeout(() => { $("said").textContent = text; }, 300); }
  function drawTop(counts) {
    const bad = (counts.get("failing") || 0) + (counts.get("stalled") || 0), faults = report.faults.length, all = vms.size;
    const busy = (counts.get("working") || 0) + (counts.get("reconciling") || 0), problem = report.daemon && report.daemon.source.problem;
    const verdict = $("verdict");
    let text = all === 0 ? "No file describes a VM here" : all === 1 ? "The VM is as its file says" : `All ${all} VMs are as their files say`;
    if (bad) text = `${bad} of ${many(all, "VM")} ${bad === 1 ? "needs" : "need"} you`;
    else if (faults || problem) text = faults ? `${many(faults, "fault")} in the documents` : "No newer documents can be had";
    else if (busy) text = `${busy} of ${many(all, "VM")} ${busy === 1 ? "is" : "are"} being changed`;
    else if (all && (counts.get("ready") || 0) < all) text = "Nothing needs you";
    verdict.textContent = text;
    verdict.className = bad || faults || problem ? "bad" : busy || !all ? "" : "good";
    document.title = `${bad || faults ? `(${bad + faults}) ` : ""}${report.host} · ckptree`;
    $("host").textContent = report.host;
    const alerts = [];
    if (faults) alerts.push(h("div", {}, h("h2", {}, `${many(faults, "fault")} in the documents; what was valid last stays in force`), h("ul", {}, report.faults.slice(0, 50).map((fault) => h("li", {}, h("code", {}, fault))))));
    if (problem) alerts.push(h("div", {}, h("h2", {}, "No newer documents can be had"), h("p", {}, problem)));
    const json = JSON.stringify([report.faults, problem]);
    if ($("alerts").dataset.shown !== json) { $("alerts").dataset.shown = json; $("alerts").replaceChildren(...alerts); }
    const released = $("released");
    released.hidden = !report.released.length;
    released.querySelector("ul").replaceChildren(...report.released.map((home) => h("li", {}, h("b", {}, home.vm), " ", h("code", {}, home.dataset))));
    const source = report.daemon && report.daemon.source;
    $("source").textContent = [source ? source.place : "", source && source.revision ? `revision ${source.revision.slice(0, 12)}` : "", `ckptree ${report.ckptree}`].filter(Boolean).join(" · ");
  }
  function pulse() {
    const element = $("pulse"), gone = $("gone"), daemon = report.daemon;
    const away = failures >= 2;
    document.body.classList.toggle("gone", away);
    if (gone.hidden === away) {
      gone.hidden = !away;
      gone.textContent = away ? "The daemon does not answer. " : "";
      if (away) gone.append(h("span", { "aria-live": "off" }));
    }
    if (away) gone.lastChild.textContent = `This picture is ${age(Date.now() - lastGood)} old (${minute(new Date(hostAt).toISOString())}).`;
    let kind = "live", text = "live";
    if (!LIVE) { kind = ""; text = `as of ${minute(report.at)}, ${daemon ? `by the daemon (pid ${daemon.pid})` : "without the daemon"}`; }
    else if (away) { kind = "gone"; text = "not answering"; }
    else if (daemon) {
      const late = daemon.next_pass && now() - Date.parse(daemon.next_pass) > 60000;
      kind = late ? "late" : "live";
      text = `${late ? "late" : "live"}, ${daemon.last_pass ? `last look ${age(now() - Date.parse(daemon.last_pass))} ago` : "no look yet"}, pid ${daemon.pid}`;
    }
    element.className = kind;
    if (element.textContent !== text) element.textContent = text;
  }
  function take(next, at) {
    report = next;
    hostAt = at; seenAt = lastGood = Date.now();
    const changed = [], names = new Set(next.vms.map((vm) => vm.status.vm));
    for (const [name, shown] of vms) if (!names.has(name)) { shown.li.remove(); vms.delete(name); }
    for (const vm of next.vms) { const moved = show(vm); if (moved) changed.push(moved); }
    const order = [...vms.values()].sort((a, b) => RANK.get(a.mood) - RANK.get(b.mood) || (a.name < b.name ? -1 : 1));
    const active = document.activeElement; // what is moved loses the focus
    order.forEach((shown, index) => { if (list.children[index] !== shown.li) list.insertBefore(shown.li, list.children[index] || null); });
    if (active && active !== document.activeElement && active.isConnected) active.focus({ preventScroll: true });
    if (first) {
      first = false;
      const loud = order.filter((shown) => RANK.get(shown.mood) <= 1);
      for (const shown of order.length <= FEW ? order : loud.slice(0, MOST_OPEN)) unfold(shown, true);
    }
    drawTop(drawStates());
    sift();
    if (changed.length) say(changed.length > 3 ? `${changed.length} VMs have changed` : changed.map((shown) => `${shown.name}: ${WORDS.get(shown.mood)}, ${plain(whyOf(shown.data, shown.mood))}`).join("; "));
    pulse();
  }
  function tick() {
    for (const time of document.querySelectorAll("time[data-at]")) {
      const text = age(now() - time.dataset.at);
      if (time.textContent !== text) time.textContent = text;
    }
    pulse();
  }
  async function ask() {
    const stop = new AbortController(), late = setTimeout(() => stop.abort(), PATIENCE);
    try {
      const answer = await fetch("status.json", { headers: tag ? { "If-None-Match": tag } : {}, cache: "no-store", signal: stop.signal });
      const at = Date.parse(answer.headers.get("Date"));
      if (answer.status === 200) {
        const next = await answer.json();
        failures = 0;
        take(next, Date.parse(next.at));
        tag = answer.headers.get("ETag") || "";
      } else if (answer.status === 304) {
        failures = 0;
        hostAt = at || now(); seenAt = lastGood = Date.now();
        pulse();
      } else throw new Error(String(answer.status));
    } catch {
      failures += 1;
      pulse();
    } finally {
      clearTimeout(late);
    }
  }
  let asking = null;
  function again() {
    clearTimeout(asking);
    // An unreachable daemon is asked less often; a page that nobody sees is not kept true.
    asking = setTimeout(async () => { if (!document.hidden) await ask(); again(); }, failures > 5 ? 4 * EVERY : EVERY);
  }

  // ---- keys
  function step(from, rows, way) { const at = rows.indexOf(from) + way; return rows[Math.max(0, Math.min(rows.length - 1, at))]; }
  function activate(shown, row) {
    const key = row.dataset.key;
    if (row.classList.contains("fold")) { if (!shown.unfolded.delete(key)) shown.unfolded.add(key); }
    else shown.selected = shown.selected === key ? null : key;
    shown.stop = key;
    drawBody(shown);
    focusRow(shown, key);
  }
  function keyInTree(event, shown, row) {
    const rows = [...row.parentElement.children], go = (next) => { if (next) focusRow(shown, next.dataset.key); };
    const fold = row.classList.contains("fold"), open = shown.unfolded.has(row.dataset.key);
    switch (event.key) {
      case "ArrowDown": go(step(row, rows, 1)); break;
      case "ArrowUp": go(step(row, rows, -1)); break;
      case "Home": go(rows[0]); break;
      case "End": go(rows[rows.length - 1]); break;
      case "ArrowLeft": if (fold && open) activate(shown, row); else go(rows.find((one) => one.dataset.key === row.dataset.parent)); break;
      case "ArrowRight": if (fold && !open) activate(shown, row); else go(rows.find((one) => one.dataset.parent === row.dataset.key)); break;
      case "Enter": case " ": activate(shown, row); break;
      default: {
        if (event.key.length !== 1 || event.key === "/") return;
        const at = rows.indexOf(row), letter = event.key.toLowerCase();
        go([...rows.slice(at + 1), ...rows.slice(0, at)].find((one) => one.dataset.key.toLowerCase().startsWith(letter)));
      }
    }
    event.preventDefault();
  }
  function keyOnHead(event, shown) {
    const heads = [...vms.values()].filter((one) => !one.li.hidden);
    heads.sort((a, b) => (a.li.compareDocumentPosition(b.li) & Node.DOCUMENT_POSITION_FOLLOWING ? -1 : 1));
    const go = (next) => next.button.focus();
    switch (event.key) {
      case "ArrowDown": go(step(shown, heads, 1)); break;
      case "ArrowUp": go(step(shown, heads, -1)); break;
      case "Home": go(heads[0]); break;
      case "End": go(heads[heads.length - 1]); break;
      case "ArrowRight": if (!shown.open) unfold(shown, true); break;
      case "ArrowLeft": if (shown.open) unfold(shown, false); break;
      default: return;
    }
    event.preventDefault();
  }
  const shownAt = (element) => { const li = element.closest("[data-vm]"); return li && vms.get(li.dataset.vm); };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target;
    if (target === $("find")) {
      if (event.key === "Escape") { target.value = ""; find(); }
      return;
    }
    const shown = shownAt(target);
    if (shown && target.matches("[role=treeitem]")) keyInTree(event, shown, target);
    else if (shown && target === shown.button) keyOnHead(event, shown);
    if (event.key === "/" && !event.defaultPrevented) { $("find").focus(); $("find").select(); event.preventDefault(); }
  });
  list.addEventListener("click", (event) => {
    const row = event.target.closest("[role=treeitem]");
    // A click inside the details is for marking text there.
    if (row && !event.target.closest(".detail") && !String(getSelection())) activate(shownAt(row), row);
  });
  list.addEventListener("focusin", (event) => {
    const row = event.target.closest("[role=treeitem]"), shown = row && shownAt(row), node = shown && shown.data.tree.nodes.find((one) => one.name === row.dataset.key);
    if (node) row.setAttribute("aria-label", spoken(node, shown)); // its age has changed since it was drawn
  });
  let typing = 0;
  $("find").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(find, 120); });

  const given = JSON.parse($("report").textContent);
  $("report").remove();
  take(given, Date.parse(given.at));
  setInterval(tick, TICK);
  if (LIVE) {
    again();
    document.addEventListener("visibilitychange", () => { if (!document.hidden) ask().then(again); });
  }
})();
