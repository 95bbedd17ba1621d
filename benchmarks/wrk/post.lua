-- Places the same order again and again.
dofile(os.getenv("WRK_DIRECTORY") .. "/report.lua")
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '["1", "1"]'
