// Package transcode makes the renditions of a stream that its publisher does not send,
// each from the moment somebody asks for it until nobody has for a while.
package transcode
