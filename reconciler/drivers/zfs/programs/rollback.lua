-- Roll an unused dataset back to its latest snapshot, if both are the ones that were meant.
--
-- argv[1]  DATASET \t GUID
-- argv[2]  SNAPSHOT \t GUID, of the same dataset
--
-- Answers "" if done, else KIND \t OBJECT \t DETAIL.

local argv = (...)["argv"]

local function read(word)
  local name, guid = string.match(word, "^([^\t]+)\t(.*)$")
  if not zfs.exists(name) then
    return name, "not found\t" .. name .. "\t"
  end
  if guid ~= "" and tostring((zfs.get_prop(name, "guid"))) ~= guid then
    return name, "another object has this name now\t" .. name .. "\t"
  end
  return name, nil
end

local dataset, snapshot, bad
dataset, bad = read(argv[1])
if bad then return bad end
snapshot, bad = read(argv[2])
if bad then return bad end

local latest = true
local created = (zfs.get_prop(snapshot, "createtxg"))
for other in zfs.list.snapshots(dataset) do
  if (zfs.get_prop(other, "createtxg")) > created then
    latest = false
  end
end

local errno = zfs.check.rollback(dataset)
if errno == EBUSY then
  return "busy\t" .. dataset .. "\tit is mounted or open"
end
if not latest then
  return "not the latest snapshot\t" .. snapshot .. "\t"
end
if errno == 0 then
  errno = zfs.sync.rollback(dataset)
end
if errno == ENOSPC or errno == EDQUOT then
  return "no space\t" .. dataset .. "\t"
elseif errno ~= 0 then
  return "refused\t" .. dataset .. "\terrno " .. errno
end
return ""
