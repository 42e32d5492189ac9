-- wrk sends the request in a file; where the first request's index stands in it, each one gets an index of its own.
local first = 100000000
local before, after, number, latest

function init(args)
  local file = assert(io.open(args[1], "rb"))
  local text = file:read("*a")
  file:close()
  local from, to = text:find(tostring(first), 1, true)
  number, latest = first, text
  if from then
    before, after = text:sub(1, from - 1), text:sub(to + 1)
  end
end

function request()
  if before then
    number = number + 1
    latest = before .. number .. after
  end
  return latest
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"done": %d, "errors": %d, "p50": %.3f, "p99": %.3f}\n',
    summary.requests,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50) / 1000,
    latency:percentile(99) / 1000
  ))
end
