-- Set and remove user properties of one dataset or snapshot, all in one transaction group.
--
-- argv[1]    the object
-- argv[2..]  NAME \t =VALUE to set, NAME \t to remove
--
-- Answers "" if done, else KIND \t OBJECT \t DETAIL. Nothing is written before everything is checked.

local argv = (...)["argv"]
local object = argv[1]

if not zfs.exists(object) then
  return "not found\t" .. object .. "\t"
end

local changes = {}
for i = 2, #argv do
  local name, value = string.match(argv[i], "^([^\t]+)\t(.*)$")
  changes[#changes + 1] = { name = name, value = value }
  if value ~= "" then
    local errno = zfs.check.set_prop(object, name, string.sub(value, 2))
    if errno ~= 0 then
      return "invalid\t" .. object .. "\t" .. name .. " cannot be set, errno " .. errno
    end
  end
end

for done, change in ipairs(changes) do
  local errno
  if change.value == "" then
    errno = zfs.sync.inherit(object, change.name)
  else
    errno = zfs.sync.set_prop(object, change.name, string.sub(change.value, 2))
  end
  if errno ~= 0 then
    return "refused\t" .. object .. "\t" .. change.name .. ": errno " .. errno
      .. ", " .. (done - 1) .. " properties were changed before it"
  end
end
return ""
