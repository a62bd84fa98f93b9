-- Destroy a set of snapshots and datasets in one transaction group: all of them, or none.
--
-- argv[1]    "check" to verify only, "destroy" to do it
-- argv[2]    a hold's tag that does not count (it is released between the two runs), or ""
-- argv[3..]  NAME \t GUID, where what hangs on another comes before it; no guid, no guard
--
-- Answers "" if done, else KIND \t OBJECT \t DETAIL. Nothing else can change the pool while a program runs, so
-- what the first half verified is still true in the second.

local argv = (...)["argv"]
local act, ignored = argv[1] == "destroy", argv[2]

local targets, earlier = {}, {}

local function refusal(kind, name, detail)
  return kind .. "\t" .. name .. "\t" .. detail
end

local function check_snapshot(name)
  local held = false
  for tag in zfs.list.holds(name) do
    if tag ~= ignored then
      return refusal("held", name, "by " .. tag)
    end
    held = true
  end
  for clone in zfs.list.clones(name) do
    if not earlier[clone] then
      return refusal("has clones", name, clone)
    end
  end
  -- With a hold left the answer would be EBUSY as well; EEXIST only means the clones looked at above.
  if not held and zfs.check.destroy(name) == EBUSY then
    return refusal("busy", name, "it is mounted below .zfs/snapshot")
  end
end

local function check_dataset(name)
  for child in zfs.list.children(name) do
    if not earlier[child] then
      return refusal("has children", name, child)
    end
  end
  local snapshots = 0
  for snapshot in zfs.list.snapshots(name) do
    if not earlier[snapshot] then
      return refusal("has snapshots", name, snapshot)
    end
    snapshots = snapshots + 1
  end
  -- A dataset that still has snapshots always says EBUSY to a destroy; a rollback is refused with EBUSY only while
  -- it is mounted or open. Anything but a clear answer cannot prove that nobody uses it.
  local errno
  if snapshots > 0 then
    errno = zfs.check.rollback(name)
  else
    errno = zfs.check.destroy(name)
    if errno == EEXIST then errno = 0 end -- its children, which go before it
  end
  if errno == EBUSY then
    return refusal("busy", name, "it is mounted or open")
  elseif errno ~= 0 then
    return refusal("refused", name, "it cannot be shown to be unused, errno " .. errno)
  end
end

for i = 3, #argv do
  local name, guid = string.match(argv[i], "^([^\t]+)\t(.*)$")
  if zfs.exists(name) then
    if guid ~= "" and tostring((zfs.get_prop(name, "guid"))) ~= guid then
      return refusal("another object has this name now", name, "")
    end
    local bad
    if string.find(name, "@", 1, true) then
      bad = check_snapshot(name)
    else
      bad = check_dataset(name)
    end
    if bad then
      return bad
    end
    targets[#targets + 1] = name
    earlier[name] = true
  end
end

if act then
  for done, name in ipairs(targets) do
    -- A deferred snapshot goes by itself with its last clone.
    if zfs.exists(name) then
      local errno = zfs.sync.destroy(name)
      if errno ~= 0 then
        return refusal("refused", name, "errno " .. errno .. ", " .. (done - 1) .. " were destroyed before it")
      end
    end
  end
end
return ""
