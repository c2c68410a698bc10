"""What Redis itself does to a persona, each in one step: Lua, sent by `app.redis.personas`."""

from __future__ import annotations

# The braces keep a tenant's keys on one node of a Redis cluster, where the scripts need them.
# The version opens the JSON text, so that a script counts it up without reading the rest: Lua
# would turn whole numbers in the attributes into floats. A script is one atomic step, so it may
# publish first: should it fail half-way (a full memory), what it wrote is invalidated already.
# The end of a persona's time stands in its value too, so that a plain GET tells those who keep it.
_WRITE = """
local function write(key, ttl_s, content, id)
  local old = redis.pcall('GETRANGE', key, 0, 40)
  local count = type(old) == 'string' and string.match(old, '^{"version":(%d+),') or 0
  local version = 1 + tonumber(count)
  local left_ms = ttl_s == 'keep' and redis.call('PTTL', key) or 1000 * ttl_s
  local ends = ''
  if left_ms > 0 then
    local clock = redis.call('TIME')
    local ends_ms = clock[1] * 1000 + math.floor(clock[2] / 1000) + left_ms
    ends = string.format('"ends_ms":%.0f,', ends_ms)
  end
  local value = '{"version":' .. string.format('%d', version) .. ',' .. ends .. content
  if ttl_s == 'keep' then redis.call('SET', key, value, 'KEEPTTL')
  elseif ttl_s == '0' then redis.call('SET', key, value)
  else redis.call('SET', key, value, 'EX', ttl_s) end
  redis.call('ZADD', KEYS[1], 0, id)
  return version
end
redis.call('PUBLISH', ARGV[1], ARGV[2])
"""
# KEYS: the index, then a value key for each persona. ARGV: channel, message, then time to live,
# content and id of each. Ids whose value has outlived its time leave the index when they are
# listed. Where nobody lists, two looks at random for each write that will end keep them about as
# few as those that live: then as many go as come.
PUT = (
    _WRITE
    + """
local versions, looks = {}, 0
for n = 2, #KEYS do
  local at = 3 * (n - 1)
  versions[n - 1] = write(KEYS[n], ARGV[at], ARGV[at + 1], ARGV[at + 2])
  if ARGV[at] ~= '0' then looks = looks + 2 end
end
if looks == 0 then return versions end
local values = string.sub(KEYS[1], 1, -2) .. ':'
for _, id in ipairs(redis.call('ZRANDMEMBER', KEYS[1], -looks)) do
  if redis.call('EXISTS', values .. id) == 0 then redis.call('ZREM', KEYS[1], id) end
end
return versions
"""
)
# Compare and set: ARGV[6] is the value that was changed.
CHANGE = (
    "if redis.call('GET', KEYS[2]) ~= ARGV[6] then return 0 end"
    + _WRITE
    + "return {write(KEYS[2], ARGV[3], ARGV[4], ARGV[5]), redis.call('TTL', KEYS[2])}"
)
# One step, so that a persona that is put meanwhile keeps its place in the index.
DROP_EXPIRED = """
local stale = {}
for n = 2, #KEYS do
  if redis.call('EXISTS', KEYS[n]) == 0 then
    redis.call('ZREM', KEYS[1], ARGV[n - 1])
    stale[#stale + 1] = ARGV[n - 1]
  end
end
return stale
"""
READ = "return {redis.call('GET', KEYS[1]), redis.call('TTL', KEYS[1])}"
DELETE = """
local gone = redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('PUBLISH', ARGV[2], ARGV[3])
return gone
"""
