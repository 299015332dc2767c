// Package images serves pictures of streams: thumbnails and storyboards, made when
// somebody asks for them.
package images
