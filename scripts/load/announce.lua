-- A script of wrk: announces of the peers of a data set over kept connections, in random order. Each response
-- is checked: its counts, how many peers it holds, and that the first and another of them are of one torrent.
--
-- REQUESTS, in the environment, names the file that `http_load list` has printed. The last line of the output
-- is one JSON object, as http_load prints it, but without the server's CPU time.

local FIRST_PORT, NUM_WANT, ENDPOINT_SIZE = 1024, 50, 6

local threads = {}
local requests, torrent_of = {}, {}

-- of each thread, and read by `done`
right, wrong, peers = 0, 0, 0

function setup(thread)
  threads[#threads + 1] = thread
end

function init()
  for line in io.lines(os.getenv("REQUESTS")) do
    local torrent, request = line:match("^(%d+) (.*)$")
    torrent_of[#requests] = torrent
    requests[#requests + 1] = request:gsub("|", "\r\n")
  end
  math.randomseed(os.time())
end

function request()
  return requests[math.random(#requests)]
end

local function torrent_at(body, at)
  local high, low = body:byte(at + 4, at + 5)
  return torrent_of[high * 256 + low - FIRST_PORT]
end

-- How many peers it holds; nothing if it is wrong.
local function peers_of(status, body)
  local _, last, complete, incomplete, size =
    body:find("^d8:completei(%d+)e10:incompletei(%d+)e8:intervali%d+e.-5:peers(%d+):")
  if status ~= 200 or not last or size % ENDPOINT_SIZE ~= 0 then
    return nil
  end
  if last + size >= #body or body:sub(-1) ~= "e" then
    return nil
  end
  local count, others = size / ENDPOINT_SIZE, complete + incomplete - 1
  if count ~= math.min(others, NUM_WANT) then
    return nil
  end
  if count > 0 then
    local torrent = torrent_at(body, last + 1)
    if not torrent or torrent ~= torrent_at(body, last + 1 + ENDPOINT_SIZE * math.random(0, count - 1)) then
      return nil
    end
  end
  return count
end

function response(status, _, body)
  local count = peers_of(status, body)
  if count then
    right, peers = right + 1, peers + count
    return
  end
  if wrong == 0 then -- the first one is enough to look at
    io.stderr:write("wrong answer, status ", status, ": ", body, "\n")
  end
  wrong = wrong + 1
end

local function sum(name)
  local all = 0
  for _, thread in ipairs(threads) do
    all = all + thread:get(name)
  end
  return all
end

function done(summary, latency)
  local errors = summary.errors
  local lost = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format(
    '{"sent": %d, "answered": %d, "lost": %d, "wrong": %d, "seconds": %.4f, '
      .. '"p50_us": %.1f, "p99_us": %.1f, "p999_us": %.1f, "mean_peers": %.2f}\n',
    summary.requests, sum("right"), lost, sum("wrong"),
    summary.duration / 1e6, latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    sum("peers") / math.max(1, sum("right"))
  ))
end
