"""Documents that are YAML and not valid: every fault at once, with what to write instead."""

# ruff: noqa: E501 - a message stays in one line, as it is shown and searched for

import pytest

from reconciler.spec.load import load_text

HEAD = "vm: web\ndataset: tank/vm/web\ndisks: [disk0.img]\n"
DURATION = "write a number with a unit, largest unit first: 90s, 30m, 1h30m, 24h, 7d, 2w"
NAME = "write letters, digits, '.', '_' and '-', at most 63, a letter or digit first"


def findings(text: str) -> list[str]:
    result = load_text(text, "f")
    assert isinstance(result, tuple), result
    return [str(finding) for finding in result]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("chekpoints: {}", ["4:1: unknown key 'chekpoints' (write 'checkpoints')"]),
        (
            "checkpoints:",
            ["4:1: 'checkpoints' is empty (write 'NAME:' lines below it, or {} for no checkpoint at all)"],
        ),
        (
            "checkpoints: [base]",
            [
                "4:14: 'checkpoints' must be a mapping, not a list (write 'NAME:' lines below it, or {} for no checkpoint at all)"
            ],
        ),
        (
            "checkpoints:\n  base:\n    patched:\n",
            ["6:5: unknown key 'patched' (write a checkpoint's children under its own 'checkpoints:')"],
        ),
        ("checkpoints: {a: {Protect: true}}", ["4:19: unknown key 'Protect' (write 'protect')"]),
        (
            "checkpoints: {a: {colour: red}}",
            [
                "4:19: unknown key 'colour' (write one of about, labels, protect, memory, expires, keep, group, when, fork, adopt, was, checkpoints)"
            ],
        ),
        ("suspend: yes\ncheckpoints: {}",
         ["4:10: 'suspend' must be true or false, not 'yes' (write true or false)"]),
        ("suspend: True\ncheckpoints: {}",
         ["4:10: 'suspend' must be true or false, not 'True' (write true or false)"]),
        ("suspend: 'true'\nprune: {limit: '5'}\ncheckpoints: {}",
         ["4:10: 'suspend' must be true or false, not 'true' (write it without quotes)",
          "5:16: '5' is not a whole number (write it without quotes)"]),
        ("prune: {mode: confrim}\ncheckpoints: {}",
         ["4:15: 'confrim' is no value of 'mode' (write 'confirm')"]),
        ("prune: {mode: sometimes}\ncheckpoints: {}",
         ["4:15: 'sometimes' is no value of 'mode' (write auto, confirm or never)"]),
        ("prune: {mode: , limit: many}\ncheckpoints: {}",
         ["4:9: 'mode' is empty (write auto, confirm or never; or leave it out)",
          "4:24: 'many' is not a whole number (write a whole number from 0 to 100000)"]),
        ("prune: {mode: [auto], limit: -1}\ncheckpoints: {}",
         ["4:15: 'mode' must be one word (write auto, confirm or never)",
          "4:30: '-1' is not a valid limit (write a whole number from 0 to 100000)"]),
        ("checkpoints: {a: {about: }}", ["4:19: 'about' is empty (write text of at most 1000 characters)"]),
        ("checkpoints: {a: 3}",
         ["4:18: 'a' must be a mapping, not '3' (write 'key: value' lines below its name, or nothing)"]),
        ("schedule: {every: 3s}\ncheckpoints: {}",
         ["4:11: the key 'keep' is missing (write 'keep: 7d')",
          "4:19: '3s' is too short for 'every' (write at least 60s)"]),
        ("schedule: {every: 999999w, keep: 1d}\ncheckpoints: {}",
         ["4:19: '999999w' is longer than a hundred years (write a shorter time)"]),
        ("host: a_b\ncheckpoints: {}",
         ["4:7: 'a_b' is not a valid host name (write the host's name, for example bsd07.example.org)"]),
        ('host: "a\\n"\ncheckpoints: {}',
         ["4:7: a line break or tab inside this text (write one line)"]),
        ("restore: {again: 1.5}\ncheckpoints: {}",
         ["4:18: '1.5' is read as a number and not as text (write it in quotes: \"1.5\")"]),
        ("hooks: {before-checkpoint: {run: [freeze, 1]}}\ncheckpoints: {}",
         ["4:35: 'freeze' is not an absolute path (write the whole path of the program)",
          "4:43: '1' is read as a whole number and not as text (write it in quotes: \"1\")"]),
    ],
)  # fmt: skip
def test_a_fault_says_what_to_write_instead(text: str, expected: list[str]) -> None:
    assert findings(f"{HEAD}{text}\n") == [f"f:{line}" for line in expected]


@pytest.mark.parametrize(
    ("word", "taken_for"),
    [
        ("no", "true or false"),
        ("on", "true or false"),
        ("1.10", "a number"),
        ("012", "a number"),
        ("1_000", "a number"),
        ("7", "a whole number"),
        ("2026-12-24", "a date"),
        ("null", "nothing"),
    ],
)
def test_a_name_that_yaml_readers_change_must_be_in_quotes(word: str, taken_for: str) -> None:
    document = """\
vm: WORD
dataset: tank/vm/web
disks: [WORD]
current: WORD
checkpoints:
  WORD:
    about: WORD
    adopt: WORD
    labels:
      WORD: WORD
"""
    places = ["1:5", "3:9", "4:10", "6:3", "7:12", "8:12", "10:7", f"10:{9 + len(word)}"]
    reason = f"'{word}' is read as {taken_for} and not as text (write it in quotes: \"{word}\")"
    assert findings(document.replace("WORD", word)) == [f"f:{place}: {reason}" for place in places]
    assert not isinstance(load_text(document.replace("WORD", f'"{word}"'), "f"), tuple)


def test_expiry_faults() -> None:
    text = f"""{HEAD}checkpoints:
  a: {{expires: 2026-12-24T18:00:00}}
  b: {{expires: 2026-02-30}}
  c: {{expires: tomorrow}}
  d: {{keep: 3d, expires: 2026-12-24}}
  e: {{keep: 90}}
  f: {{keep: 1:30}}
  g: {{keep: 0}}
"""
    assert findings(text) == [
        "f:5:16: the time '2026-12-24T18:00:00' has no time zone (write 2026-12-24T18:00:00Z for UTC, or an offset like +02:00)",
        "f:6:16: '2026-02-30' is no day or time of the calendar (write a date like 2026-12-24)",
        "f:7:16: 'tomorrow' is not a valid date or time (write a date, for example 2026-12-24, or a time with Z, for example 2026-12-24T18:00:00Z)",
        "f:8:17: 'expires' and 'keep' exclude each other (write only one of them)",
        f"f:9:13: '90' is not a valid duration ({DURATION})",
        f"f:10:13: '1:30' is not a valid duration ({DURATION})",
        "f:11:13: '0' is too short for 'keep' (write at least 1s)",
    ]


def test_keys_that_exclude_each_other() -> None:
    text = f"""{HEAD}checkpoints:
  a:
    fork: true
    checkpoints:
      b: {{fork: true, adopt: x}}
      c: {{memory: required, adopt: y}}
      d: {{fork: true, memory: required}}
      e: {{fork: false, adopt: z, memory: auto}}
"""
    assert findings(text) == [
        "f:6:11: a root has no parent to fork from (remove 'fork')",
        "f:8:23: 'fork' and 'adopt' exclude each other (write only one of them)",
        "f:9:29: an adopted snapshot has no memory, so 'memory: required' cannot be met (remove 'memory', or 'adopt')",
        "f:10:23: a forked checkpoint has no memory of its own, so 'memory: required' cannot be met (remove 'memory', or 'fork')",
    ]


def test_names_are_judged_within_the_whole_tree() -> None:
    text = f"""{HEAD}current: bsae
checkpoints:
  base:
    checkpoints:
      x:
        checkpoints:
          base:
      auto-x:
      a b:
  old: {{was: x}}
  new: {{was: gone, adopt: s}}
  newer: {{was: gone, adopt: s}}
  alien: {{adopt: tank/vm/other/b-1@s}}
"""
    assert findings(text) == [
        "f:4:10: 'current' names 'bsae', which is no checkpoint of this file (write 'base')",
        "f:10:11: the checkpoint 'base' has a second parent, and stands already at f:6:3 (give one of the two another name)",
        "f:11:7: names that begin with 'auto-' belong to ckptree's own checkpoints (write another name)",
        f"f:12:7: 'a b' is not a valid checkpoint name ({NAME})",
        "f:13:14: 'was' names 'x', which still stands at f:8:7 (remove the old name, or 'was')",
        "f:15:16: 'gone' is the old name of another checkpoint too, at f:14:14 (write each old name once)",
        "f:15:29: 's' is adopted twice, already at f:14:27 (adopt each snapshot once)",
        "f:16:18: 'tank/vm/other/b-1@s' is no snapshot at or below tank/vm/web (write a snapshot of this VM's own branches)",
    ]


def test_current_may_name_an_automatic_checkpoint() -> None:
    result = load_text(
        f"{HEAD}current: auto-20261123T180000Z-before-base\ncheckpoints: {{}}\n", "f"
    )
    assert not isinstance(result, tuple)


def test_disk_faults() -> None:
    text = """\
vm: web
dataset: tank/vm/web
disks:
  - /a
  - ../b
  - .ckptree/x
  - a//b
  - d
  - zvol: d
  - zvol: d/e
  - d/x
  - zvl: x
  - ""
checkpoints: {}
"""
    assert findings(text) == [
        "f:4:5: '/a' is an absolute path (write a relative one)",
        "f:5:5: '../b' leads out with '..' (write it without)",
        "f:6:5: '.ckptree/x' lies in ckptree's own folder (use another folder)",
        "f:7:5: 'a//b' has an empty part (write it without)",
        "f:9:5: the disk 'd' is written twice, already at f:8:5 (write each disk once)",
        "f:10:11: 'd/e' is not a valid volume name (write one name without '/': letters, digits, '_', '.', ':' and '-', at most 63)",
        "f:11:5: 'd/x' lies below the volume 'd' (put the file into another folder)",
        "f:12:5: unknown key 'zvl' (write 'zvol')",
        "f:13:5: '' is not a valid disk (write a file's name, for example disk0.img, or {zvol: disk1})",
    ]


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ("tank", "'tank' is a pool, and a VM needs a filesystem below one (write tank/vm/NAME)"),
        ("/tank/web", "'/tank/web' is not a dataset (write POOL/NAME/... without '@', '#' or a leading '/')"),
        ("tank/web@x", "'tank/web@x' is not a dataset (write POOL/NAME/... without '@', '#' or a leading '/')"),
        ("tank/web/b-1",
         "'b-1' is the name of a branch, and a home is none (write the dataset above it, or another name)"),
    ],
    ids=["pool", "path", "snapshot", "branch"],
)  # fmt: skip
def test_dataset_faults(dataset: str, expected: str) -> None:
    text = f"vm: web\ndataset: {dataset}\ndisks: [a]\ncheckpoints: {{}}\n"
    assert findings(text) == [f"f:2:10: {expected}"]


def test_a_snapshot_name_that_zfs_cannot_take_is_refused() -> None:
    home = "tank/" + "x" * 200
    text = "vm: web\ndataset: {}\ndisks: [{{zvol: disk1}}]\ncheckpoints: {{{}: }}\n"
    room = 255 - len(f"{home}/b-999999/disk1@")
    assert not isinstance(load_text(text.format(home, "n" * room), "f"), tuple)
    (finding,) = findings(text.format(home, "n" * (room + 1)))
    assert finding.startswith("f:4:15: the snapshots of 'nnn")
    assert "would have names of 256 characters, and ZFS allows 255" in finding


def test_text_that_zfs_cannot_store_is_refused() -> None:
    assert findings(f"{HEAD}checkpoints: {{a: {{about: {'😀' * 700}}}}}\n") == [
        "f:4:26: 'about' takes 8400 bytes as ZFS stores it (write less: at most 8191 bytes)"
    ]
    labels = ", ".join(f"k{number}: {'😀' * 40}" for number in range(30))
    (finding,) = findings(f"{HEAD}checkpoints: {{a: {{labels: {{{labels}}}}}}}\n")
    assert finding.startswith("f:4:27: the labels take 14")
    (finding,) = findings(f"{HEAD}checkpoints: {{a: {{about: {'x' * 1001}}}}}\n")
    assert finding.endswith("is not a valid description (write text of at most 1000 characters)")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bhyve", ["13: 'bhyve' is not a valid hypervisor (write none, or exactly one of bhyve, vm-bhyve, qemu, command with its settings below it)"]),
        ("{bhyve: }", ["14: 'bhyve' is empty (write 'config: FILE' or 'args: [...]' below it)"]),
        ("{bhyve: {}}", ["21: bhyve needs either 'config' or 'args' (write exactly one of the two)"]),
        ("{bhyve: {config: ../a}}", ["30: '../a' leads out with '..' (write it without)"]),
        ("{bhyve: {config: a, mode: fast}}",
         ["39: 'fast' is no value of 'mode' (write auto, suspend, checkpoint or disks)"]),
        ("{qemu: {args: []}}",
         ["27: this is not a valid list of arguments (write a list of texts, for example [-m, 2G])"]),
        ("{command: {start: [/a], stop: [b]}}",
         ["23: the key 'running' is missing (write 'running: [/usr/local/bin/guest, running, web]')",
          "44: 'b' is not an absolute path (write the whole path of the program)"]),
        ("{none: , qemu: {args: [a]}}",
         ["13: this is not a valid hypervisor (write none, or exactly one of bhyve, vm-bhyve, qemu, command with its settings below it)"]),
    ],
)  # fmt: skip
def test_hypervisor_faults(text: str, expected: list[str]) -> None:
    lines = findings(f"{HEAD}hypervisor: {text}\ncheckpoints: {{}}\n")
    assert lines == [f"f:4:{line}" for line in expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[]",
            "1:1: the document must be a mapping, not a list (write 'key: value' lines below it)",
        ),
        (
            "web",
            "1:1: the document must be a mapping, not 'web' (write 'key: value' lines below it)",
        ),
        (
            "--- ~",
            "1:5: the document must be a mapping, not '~' (write 'key: value' lines below it)",
        ),
    ],
)
def test_a_document_that_is_no_mapping_is_a_fault(text: str, expected: str) -> None:
    assert findings(text) == [f"f:{expected}"]


def test_every_missing_key_is_named_with_an_example() -> None:
    assert findings("{}") == [
        "f:1:1: the key 'checkpoints' is missing (write 'checkpoints: {base: {about: 14.3 fresh install, protect: true}}')",
        "f:1:1: the key 'dataset' is missing (write 'dataset: zroot/vm/web')",
        "f:1:1: the key 'disks' is missing (write 'disks: [disk0.img]')",
        "f:1:1: the key 'vm' is missing (write 'vm: web')",
    ]
