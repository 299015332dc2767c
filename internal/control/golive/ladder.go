package golive

import (
	"math"
	"slices"
)

const (
	// maxTracks is what OBS can send.
	maxTracks = 10
	// leastShare is how much of its usual bitrate a rendition must have at least when a
	// bound is shared among several, and aloneShare when it is the only one.
	leastShare = 0.75
	aloneShare = 0.6
	// leastKbps is the least for a picture at all.
	leastKbps = 80
	// smooth is the frame rate above which a picture costs more, and small renditions
	// are sent at half of it.
	smooth = 40
	// smallLines is up to which size a rendition is small.
	smallLines = 480
	// fastest is the highest frame rate that is sent.
	fastest = 61
)

// rungs are the sizes below the source, by lines, with their bitrates in kbit/s for
// 16:9 at 30 frames a second. Bitrates of sizes between them are interpolated.
var rungs = [...]struct{ lines, kbps int }{
	{2160, 12000}, {1440, 7000}, {1080, 4500}, {720, 2500}, {480, 1200}, {360, 700}, {240, 350}, {144, 150},
}

// lowestRung is the smallest rendition that is made of a larger picture, where no bound
// asks for less.
const lowestRung = 360

type rendition struct {
	picture
	kbps int
}

// ladder chooses renditions of the source, largest first, with at most that many tracks
// and kbit/s (0 for no bound) and within the encoder's budget. It is empty if not even
// the smallest rendition fits.
func ladder(source picture, tracks, kbps int, budget float64) []rendition {
	for source.fps() > fastest {
		source.den *= 2
	}
	tops := append([]picture{source}, below(source, rungs[len(rungs)-1].lines)...)
	for _, top := range tops {
		for n := min(tracks, maxTracks); n >= 1; n-- {
			out := spread(top, n)
			if len(out) < n {
				continue
			}
			if n > 1 && budget > 0 && work(out) > budget {
				continue
			}
			share := 1.0
			if kbps > 0 {
				share = min(1, float64(kbps)/float64(total(out)))
			}
			if n > 1 && share < leastShare || share < aloneShare {
				continue
			}
			for i := range out {
				out[i].kbps = int(float64(out[i].kbps) * share)
			}
			return out
		}
	}
	if least := rate(tops[len(tops)-1]); kbps >= leastKbps {
		least.kbps = min(least.kbps, kbps)
		return []rendition{least}
	}
	return nil
}

// below are the smaller sizes of a picture, down to one of that many lines.
func below(p picture, lowest int) (out []picture) {
	for _, r := range rungs {
		// A size that is hardly smaller is of no use.
		if r.lines < lowest || r.lines*8 > p.lines()*7 {
			continue
		}
		scale := float64(r.lines) / float64(p.lines())
		s := p
		s.width, s.height = even(math.Round(float64(p.width)*scale)), even(math.Round(float64(p.height)*scale))
		if half := (picture{num: p.num, den: 2 * p.den}); r.lines <= smallLines && p.fps() > smooth && p.keyInterval() == 2*half.keyInterval() {
			// Only where the key frames stay together, which is not so at 59.94.
			s.den *= 2
		}
		out = append(out, s)
	}
	return out
}

// spread takes n renditions of a picture: itself, and the smaller sizes evenly.
func spread(top picture, n int) []rendition {
	out := []rendition{rate(top)}
	less := below(top, lowestRung)
	n = min(n-1, len(less))
	switch {
	case n == 1:
		out = append(out, rate(less[len(less)/2]))
	case n > 1:
		for i := range n {
			out = append(out, rate(less[i*(len(less)-1)/(n-1)]))
		}
	}
	return slices.Compact(out)
}

// rate gives a picture its usual bitrate.
func rate(p picture) rendition {
	const aspect = 16.0 / 9
	area := func(lines int) float64 { return float64(lines) * float64(lines) * aspect }
	first, last := rungs[0], rungs[len(rungs)-1]
	kbps := float64(last.kbps)
	switch {
	case p.pixels() >= area(first.lines):
		kbps = float64(first.kbps)
	case p.pixels() <= area(last.lines):
	default:
		for i := 1; i < len(rungs); i++ {
			hi, lo := rungs[i-1], rungs[i]
			if a, b := area(lo.lines), area(hi.lines); p.pixels() >= a {
				kbps = float64(lo.kbps) + (p.pixels()-a)/(b-a)*float64(hi.kbps-lo.kbps)
				break
			}
		}
	}
	if p.fps() > smooth {
		kbps *= 1.35
	}
	const step = 50
	return rendition{picture: p, kbps: max(step, int(math.Round(kbps/step))*step)}
}

func total(in []rendition) (kbps int) {
	for _, r := range in {
		kbps += r.kbps
	}
	return kbps
}

// work is what renditions cost a processor, in pictures of 1280×720 at 30 a second.
func work(in []rendition) (w float64) {
	for _, r := range in {
		w += r.pixels() * r.fps() / (1280 * 720 * 30)
	}
	return w
}
