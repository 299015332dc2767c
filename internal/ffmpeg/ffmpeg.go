// Package ffmpeg runs ffmpeg as a child process: arguments built of typed values, media
// through pipes, and an end that is always seen.
package ffmpeg
