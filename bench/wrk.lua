-- So many requests, all of them answered, every answer compared; the findings as one line of JSON.
-- BENCH_EXCHANGES names a file: what to POST, the answer to it, and so on, in turns, a zero byte behind each.
-- wrk itself only knows seconds: it is told to end when it has said "enough".
local limit = tonumber(os.getenv("BENCH_REQUESTS"))
local requests, expected = {}, {}
local asked, answered, started = 0, 0, 0
local threads = {}
wrong = 0 -- global: thread:get reads it

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  local file = io.open(os.getenv("BENCH_EXCHANGES"), "rb")
  for body, answer in file:read("*a"):gmatch("(%Z*)%z(%Z*)%z") do
    table.insert(requests, wrk.format("POST", nil, { ["Content-Type"] = "application/json" }, body))
    expected[answer] = true
  end
  file:close()
end

-- Milliseconds until the next request: whoever comes after the last one waits for ever.
function delay()
  started = started + 1
  return started > limit and 3600000 or 0
end

function request()
  asked = asked + 1
  return requests[asked % #requests + 1]
end

function response(status, headers, body)
  if not expected[body] then
    wrong = wrong + 1
  end
  answered = answered + 1
  if answered == limit then
    io.write("enough\n")
    io.flush()
  end
end

function done(summary, latency)
  local faults = 0
  for _, thread in ipairs(threads) do
    faults = faults + thread:get("wrong")
  end
  for _, kind in ipairs({ "status", "connect", "read", "write", "timeout" }) do
    faults = faults + summary.errors[kind]
  end
  io.write(string.format(
    '\n{"requests":%d,"p50":%.3f,"p99":%.3f,"faults":%d}\n',
    summary.requests, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, faults
  ))
end
