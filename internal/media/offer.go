package media

// The renditions that a server makes for one purpose and that are in no playlist.
const (
	// RenditionRealtime is the source's picture as every browser takes it over WebRTC: H.264
	// in decoding order.
	RenditionRealtime = "realtime"
	// RenditionOpus is the source's sound as WebRTC takes it.
	RenditionOpus = "opus"
	// RenditionAAC is the source's sound as HLS and DASH players take it.
	RenditionAAC = "aac"
)

// Offer is a rendition that can be made of a stream as soon as somebody asks for it.
type Offer struct {
	// Track describes what it will be: Rendition is its name and that of its feed, and
	// codec, codec string, size, frame rate or sample rate are those of the media to come.
	// It has no Config.
	Track *Track
	// Peak and Average are the bit rates to expect, in bits a second. Peak is kept.
	Peak, Average int64
	// Listed is set if it belongs in playlists and manifests.
	Listed bool
	// Realtime is set if WebRTC can send it: no picture is decoded before one that is
	// shown earlier.
	Realtime bool
}
