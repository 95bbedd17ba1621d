-- One order after the other, of those whose ids (from, to) are given; each thread starts with another one.
dofile(os.getenv("WRK_DIRECTORY") .. "/report.lua")
local requests, next_one = {}, 0

function init(arguments)
  for id = tonumber(arguments[1]), tonumber(arguments[2]) do
    requests[#requests + 1] = wrk.format("GET", "/orders/" .. id)
  end
  math.randomseed(os.time())
  next_one = math.random(#requests)
end

function request()
  next_one = next_one % #requests + 1
  return requests[next_one]
end
