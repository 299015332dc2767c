package bitstream

import "fmt"

// Bounds on what parameter sets may ask of a decoder.
const (
	// MaxWidth and MaxHeight bound a picture's coded size in either orientation:
	// a side is at most MaxWidth, and the area at most MaxWidth×MaxHeight.
	MaxWidth  = 8192
	MaxHeight = 4320
	// maxReferences is the most reference frames that H.264 and HEVC allow (A.3.1, A.4.2).
	maxReferences = 16
	// maxParameterSet is how much of one parameter set is read, in bytes. Real ones
	// have less than 300; the rest of a longer one is extension data.
	maxParameterSet = 4096
	// maxFrameRate is the highest declared frame rate that is believed.
	maxFrameRate = 300
	// maxConfig bounds a decoder configuration in bytes.
	maxConfig = 64 << 10
	// maxSampleRate and maxChannels bound audio.
	maxSampleRate = 384000
	maxChannels   = 64
)

// checkSize refuses pictures over the bound, and empty ones.
func checkSize(w, h uint64) error {
	if w == 0 || h == 0 {
		return fmt.Errorf("the picture is empty (%dx%d)", w, h)
	}
	if w > MaxWidth || h > MaxWidth || w*h > MaxWidth*MaxHeight {
		return &sizeError{w, h}
	}
	return nil
}

// sizeError is the one defect of a parameter set that is the sender's choice.
type sizeError struct{ w, h uint64 }

func (e *sizeError) Error() string {
	return fmt.Sprintf("the picture is %dx%d, more than %dx%d", e.w, e.h, MaxWidth, MaxHeight)
}

// cropped checks the coded size and the crop and returns what remains.
func cropped(w, h, cropX, cropY uint64) (uint64, uint64, error) {
	if err := checkSize(w, h); err != nil {
		return 0, 0, err
	}
	if cropX >= w || cropY >= h {
		return 0, 0, fmt.Errorf("the crop (%d, %d) leaves nothing of %dx%d", cropX, cropY, w, h)
	}
	return w - cropX, h - cropY, nil
}

// frameRate believes a declared rate between 1 and maxFrameRate and takes any other as
// not declared: a time scale of 0 or 1 is a common lie.
func frameRate(num, den uint64) float64 {
	if den == 0 {
		return 0
	}
	f := float64(num) / float64(den)
	if f < 1 || f > maxFrameRate {
		return 0
	}
	return f
}
