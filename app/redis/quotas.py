"""Quotas in Redis: per key one hash of bucket levels and one sorted set of slots by their end.

Redis's own clock counts, so that gateways need not agree on the time. Each call is one script and
one round trip; a bucket that would be full again is forgotten by itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from app.access.quota import Limits, Slot, Standing
from app.metrics import LimitOutcome
from app.redis.link import RedisLink

# A bucket is a level at a time; `filled` brings it to now. A limit of 0 is none.
_BUCKETS = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + clock[2] / 1000
local old = redis.call('HMGET', KEYS[1], 'requests', 'tokens', 'at')
local passed = math.max(0, now - (tonumber(old[3]) or now))
local function filled(limit, level)
  return math.min(limit, (tonumber(level) or limit) + passed * limit / 60000)
end
local function keep(requests_limit, requests, tokens_limit, tokens)
  local full = 1000
  if requests_limit > 0 then full = math.max(full, (1 - requests / requests_limit) * 60000) end
  if tokens_limit > 0 then full = math.max(full, (1 - tokens / tokens_limit) * 60000) end
  redis.call('HSET', KEYS[1], 'requests', string.format('%.6f', requests),
    'tokens', string.format('%.6f', tokens), 'at', string.format('%.3f', now))
  redis.call('PEXPIRE', KEYS[1], math.ceil(full) + 1000)
end
local requests_limit, tokens_limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local requests, tokens = filled(requests_limit, old[1]), filled(tokens_limit, old[2])
"""
_TAKE = (
    _BUCKETS
    + """
local most, slot, lease = tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local refused, wait = '', 0
local function refuse(name, ms)
  if ms > wait then refused, wait = name, ms end
end
if requests_limit > 0 and requests < 0.999999 then
  refuse('requests', (1 - requests) * 60000 / requests_limit)
end
if tokens_limit > 0 and tokens < 0.999999 then
  refuse('tokens', (1 - tokens) * 60000 / tokens_limit)
end
if most > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
  if redis.call('ZCARD', KEYS[2]) >= most then refuse('concurrent', 1000) end
end
if refused == '' then
  requests = requests - 1
  if requests_limit + tokens_limit > 0 then keep(requests_limit, requests, tokens_limit, tokens) end
  if most > 0 then
    redis.call('ZADD', KEYS[2], now + lease, slot)
    redis.call('PEXPIRE', KEYS[2], lease + 1000)
  end
end
return {refused, string.format('%.3f', wait), string.format('%.6f', requests),
  string.format('%.6f', tokens)}
"""
)
_GIVE = (
    _BUCKETS
    + """
redis.call('ZREM', KEYS[2], ARGV[3])
if tokens_limit > 0 then
  keep(requests_limit, requests, tokens_limit, tokens - tonumber(ARGV[4]))
end
"""
)
# `XX`: a slot that was given back meanwhile stays so.
_RENEW = """
local clock = redis.call('TIME')
local ends = clock[1] * 1000 + clock[2] / 1000 + tonumber(ARGV[1])
for place = 2, #ARGV do redis.call('ZADD', KEYS[1], 'XX', ends, ARGV[place]) end
redis.call('PEXPIRE', KEYS[1], tonumber(ARGV[1]) + 1000)
"""


class RedisQuotas:
    """`app.access.quota.QuotaStore` over a link to Redis."""

    def __init__(self, link: RedisLink) -> None:
        self._guarded = link.guarded
        self._take = link.redis.register_script(_TAKE)
        self._give = link.redis.register_script(_GIVE)
        self._renew = link.redis.register_script(_RENEW)

    async def take(self, slot: Slot, limits: Limits, lease_s: float) -> Standing:
        key_id, name = slot
        amounts = [*_per_minute(limits), limits.concurrent or 0]
        async with self._guarded():
            refused, wait_ms, requests, tokens = await self._take(
                _keys(key_id), [*amounts, name, round(lease_s * 1000)]
            )
        refused_by = LimitOutcome(refused.decode()) if refused else None
        return Standing(float(requests), float(tokens), refused_by, float(wait_ms) / 1000)

    async def give(self, slot: Slot, limits: Limits, tokens: int) -> None:
        key_id, name = slot
        async with self._guarded():
            await self._give(_keys(key_id), [*_per_minute(limits), name, tokens])

    async def renew(self, slots: Iterable[Slot], lease_s: float) -> None:
        names: dict[str, list[str]] = {}
        for key_id, name in slots:
            names.setdefault(key_id, []).append(name)
        for key_id, held in names.items():
            async with self._guarded():
                await self._renew([_keys(key_id)[1]], [round(lease_s * 1000), *held])


def _per_minute(limits: Limits) -> list[int]:
    return [limits.requests_per_minute or 0, limits.tokens_per_minute or 0]


def _keys(key_id: str) -> list[str]:
    return [f"personadual:{{limit:{key_id}}}:{what}" for what in ("buckets", "slots")]
