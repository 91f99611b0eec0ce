-- One window: the same request over and over, every answer compared, the findings as one line of JSON.
local body, expected = os.getenv("BENCH_BODY"), os.getenv("BENCH_ANSWER")
if body ~= "" then
  wrk.method = "POST"
  wrk.body = body
  wrk.headers["Content-Type"] = "application/json"
end

local threads = {}
wrong = 0 -- global: thread:get reads it

function setup(thread)
  table.insert(threads, thread)
end

if expected ~= "" then
  function response(status, headers, body)
    if body ~= expected then
      wrong = wrong + 1
    end
  end
end

function done(summary, latency, requests)
  local faults = 0
  for _, thread in ipairs(threads) do
    faults = faults + thread:get("wrong")
  end
  for _, kind in ipairs({ "status", "connect", "read", "write", "timeout" }) do
    faults = faults + summary.errors[kind]
  end
  io.write(string.format(
    '\n{"requests":%d,"seconds":%.6f,"p50":%.3f,"p99":%.3f,"faults":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, faults
  ))
end
