-- The same request again and again: a hello, a list.
dofile(os.getenv("WRK_DIRECTORY") .. "/report.lua")
