package ffmpeg

func shim() bool { return false }
