package hls

import (
	"onair/internal/fault"
	"onair/internal/media"
)

// noLadder makes nothing.
type noLadder struct{}

func (noLadder) Offers(string) []media.Offer { return nil }

func (noLadder) Want(_, rendition string) error {
	return fault.New(fault.NotFound, "make rendition", rendition, "nothing is made of streams here", "")
}
