-- Writes values or deletes them: all of them, or none where a condition does not hold.
-- KEYS: one for each write. ARGV: four for each write:
--   'set' or 'delete'
--   its condition: '*' always, '-' where there is no value, or the version that has to be there
--   the value
--   after how many seconds it ends, or '' for never
-- Answers 1, or 0 where nothing was written.

-- Nothing is written before all is checked: what a script wrote stays when it fails.
local before, now = {}, {}
for i, key in ipairs(KEYS) do
  local kind, condition = ARGV[4 * i - 3], ARGV[4 * i - 2]
  -- false: no value; a number as text: its version; another text: a value without a version.
  local found = now[key]
  if found == nil then
    found = redis.pcall('HGET', key, 'version')
    if type(found) == 'table' then
      if not string.find(found.err, 'WRONGTYPE', 1, true) then
        return found
      end
      found = 'other type'
    elseif found and not (#found < 19 and string.find(found, '^%d+$')) then
      found = 'no version'
    elseif not found and redis.call('HEXISTS', key, 'data') == 1 then
      found = 'no version'
    end
  end
  local holds = condition == '*' or condition == '-' and not found or condition == found
  if not holds then
    return 0
  end
  before[i] = found
  -- No request can know the version that another one of this script makes.
  now[key] = kind == 'set' and 'written'
end

local function first_version()
  -- Of the clock, so that a key which is deleted and written again has no version of before.
  local time = redis.call('TIME')
  return string.format('%.0f', time[1] * 1000000 + time[2])
end

for i, key in ipairs(KEYS) do
  local found = before[i]
  local kind, condition = ARGV[4 * i - 3], ARGV[4 * i - 2]
  local value, seconds = ARGV[4 * i - 1], ARGV[4 * i]
  if kind == 'delete' or found == 'other type' then
    redis.call('DEL', key)
  end
  if kind == 'set' then
    if found == 'written' or found and string.find(found, '^%d') then
      redis.call('HSET', key, 'data', value)
      redis.call('HINCRBY', key, 'version', 1)
    else
      redis.call('HSET', key, 'data', value, 'version', first_version())
    end
    if condition == '-' then
      -- As Dapr marks them.
      redis.call('HSET', key, 'first-write', 0)
    end
    if seconds ~= '' then
      redis.call('EXPIRE', key, seconds)
    else
      redis.call('PERSIST', key)
    end
  end
end
return 1
