package images

import (
	"errors"
	"time"

	"onair/internal/fault"
)

// Config bounds what pictures may cost.
type Config struct {
	MaxAge     time.Duration `name:"images-max-age" yaml:"max_age" env:"ONAIR_IMAGES_MAX_AGE" help:"Greatest age of a thumbnail, if the stream has newer key frames. It is made anew at half of that at the earliest." default:"10s"`
	Jobs       int           `name:"images-jobs" yaml:"jobs" env:"ONAIR_IMAGES_JOBS" help:"Thumbnails and storyboards of all live streams that are made at the same time, and as many of recordings." default:"1"`
	CacheBytes int64         `name:"images-cache-bytes" yaml:"cache_bytes" env:"ONAIR_IMAGES_CACHE_BYTES" help:"Memory for pictures of recordings, in bytes. Those that were not asked for the longest time go first." default:"33554432"`
	Wait       time.Duration `name:"images-wait" yaml:"wait" env:"ONAIR_IMAGES_WAIT" help:"How long a picture may wait for others to be made." default:"6s"`
}

// The bounds that nobody needs to set.
const (
	// maxWaiting is how many requests of all streams wait for pictures.
	maxWaiting = 256
	// failureKept is how long a picture that could not be made is not tried again.
	failureKept = 5 * time.Second
	// sheetAge is how long a storyboard is good.
	sheetAge = 10 * time.Second
	// maxTiles is the most pictures on a sheet, tileWidth their width, and columns how many
	// stand side by side.
	maxTiles, tileWidth, columns = 100, 160, 10
	// maxSheets is how many sheets of a stream are kept: the newest, and the one that an
	// index names which was sent a moment ago.
	maxSheets = 2
	// maxPictures is how many pictures of a stream's segments are kept, of some kilobytes
	// each; bitsPerPixel is what playlists say that one takes, and sameMoment how far the
	// segments of two renditions under the same number may be from each other.
	maxPictures, bitsPerPixel = 128, 2
	sameMoment                = 100 * time.Millisecond
	// maxCells is the most pictures of a recording's storyboard, over all sheets; they stand
	// for as many segments each as that takes.
	maxCells = 400
	// maxWalk is how many segments from a moment a key frame is looked for, to each side.
	maxWalk = 64
	// readers are the key frames of a sheet that are read from the storage at the same time,
	// maxKeyBytes what all of them may have, and readTime what reading them may take.
	readers, maxKeyBytes, readTime = 4, 64 << 20, 20 * time.Second
	// writeTime is how long a viewer may take to receive a picture.
	writeTime = 30 * time.Second
)

// DefaultConfig returns the settings that need no thought.
func DefaultConfig() Config {
	return Config{MaxAge: 10 * time.Second, Jobs: 1, Wait: 6 * time.Second, CacheBytes: 32 << 20}
}

// Validate reports every setting that cannot work, each as a fault.Invalid.
func (c Config) Validate() error {
	bad := func(ok bool, key, cause, hint string) error {
		if ok {
			return nil
		}
		return fault.New(fault.Invalid, "read setting", key, cause, hint)
	}
	return errors.Join(
		bad(c.MaxAge >= 2*time.Second && c.MaxAge <= time.Hour, "images-max-age", "is not between 2s and 1h", "Set 10s"),
		bad(c.Jobs >= 1 && c.Jobs <= 64, "images-jobs", "is not between 1 and 64", "Set 1"),
		bad(c.CacheBytes >= 1<<20, "images-cache-bytes", "is less than 1 MiB", "Set 33554432"),
		bad(c.Wait >= time.Second && c.Wait <= time.Minute, "images-wait", "is not between 1s and 1m", "Set 6s"),
	)
}
