-- Promote several clones in one transaction group: all of them, or none.
--
-- argv[1..]  the clones
--
-- Answers "" if done, else KIND \t OBJECT \t DETAIL.

local argv = (...)["argv"]

local function dataset_of(snapshot)
  return string.match(snapshot, "^[^@]+")
end

-- Whether each is a clone at all.
local origin_of, is_clone = {}, {}
for _, clone in ipairs(argv) do
  if not zfs.exists(clone) then
    return "not found\t" .. clone .. "\t"
  end
  local origin = zfs.get_prop(clone, "origin")
  if origin == nil or origin == "" then
    return "not a clone\t" .. clone .. "\t"
  end
  origin_of[clone] = dataset_of(origin)
  is_clone[clone] = true
end

-- What follows checks every clone by itself, which is only enough if no promotion changes the next one's case.
local seen = {}
for _, clone in ipairs(argv) do
  local origin = origin_of[clone]
  if seen[origin] or is_clone[origin] then
    return "invalid\t" .. clone .. "\tanother of the clones to promote is " .. origin .. " or comes from it"
  end
  seen[origin] = true
end

for _, clone in ipairs(argv) do
  local errno, clashes = zfs.check.promote(clone)
  if errno == EEXIST then
    local name = ""
    for _, clash in pairs(clashes or {}) do name = clash end
    return "exists\t" .. clone .. "\tboth have a snapshot " .. name
  elseif errno == EBUSY then
    return "busy\t" .. clone .. "\ta snapshot that would move is mounted"
  elseif errno == ENOSPC or errno == EDQUOT then
    return "no space\t" .. clone .. "\t"
  elseif errno ~= 0 then
    return "refused\t" .. clone .. "\terrno " .. errno
  end
end

for done, clone in ipairs(argv) do
  local errno = zfs.sync.promote(clone)
  if errno ~= 0 then
    return "refused\t" .. clone .. "\terrno " .. errno .. ", " .. (done - 1) .. " were promoted before it"
  end
end
return ""
