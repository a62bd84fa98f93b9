-- Take snapshots of several datasets, each with its own user properties, all in one transaction group.
--
-- argv  one word a snapshot or property:  @ SNAPSHOT, then for each of its properties  = NAME \t VALUE
--
-- Answers "" if done, else KIND \t OBJECT \t DETAIL. Nothing is written before everything is checked.

local argv = (...)["argv"]
local snapshots = {}

for _, word in ipairs(argv) do
  local sort, text = string.sub(word, 1, 1), string.sub(word, 2)
  if sort == "@" then
    snapshots[#snapshots + 1] = { name = text, properties = {} }
  else
    local name, value = string.match(text, "^([^\t]+)\t(.*)$")
    local own = snapshots[#snapshots].properties
    own[#own + 1] = { name = name, value = value }
  end
end

for _, snapshot in ipairs(snapshots) do
  if not zfs.exists(string.match(snapshot.name, "^[^@]+")) then
    return "not found\t" .. snapshot.name .. "\t"
  end
  if zfs.exists(snapshot.name) then
    return "exists\t" .. snapshot.name .. "\t"
  end
  local errno = zfs.check.snapshot(snapshot.name)
  if errno == 28 or errno == 122 or errno == 69 then -- ENOSPC; EDQUOT on Linux and on FreeBSD
    return "no space\t" .. snapshot.name .. "\t"
  elseif errno ~= 0 then
    return "refused\t" .. snapshot.name .. "\terrno " .. errno
  end
end

for done, snapshot in ipairs(snapshots) do
  local errno = zfs.sync.snapshot(snapshot.name)
  for _, property in ipairs(snapshot.properties) do
    if errno == 0 then
      errno = zfs.sync.set_prop(snapshot.name, property.name, property.value)
    end
  end
  if errno ~= 0 then
    return "refused\t" .. snapshot.name .. "\terrno " .. errno
      .. ", " .. (done - 1) .. " snapshots were taken before it"
  end
end
return ""
