package play

import (
	"slices"
	"time"
)

const (
	// startRate is the most that a viewer is sent of whom nothing is known yet, in bits a
	// second.
	startRate = 5_000_000
	// lossy is the share of lost packets that is too much, clean what is none.
	lossy  = 0.10
	noLoss = 0.02
	// tooLittle is the share of a layer's rate below which the way cannot carry it, if it
	// is so for scarceFor; fits is how much of what the way can carry is used.
	tooLittle = 0.8
	scarceFor = time.Second
	// doubtful is the same for a way that is said to be too narrow, and on which packets
	// neither get lost nor wait: a queue makes the round trip longer by at least queued. A
	// machine that has no time for its packets makes estimates fall as well.
	doubtful = 5 * time.Second
	queued   = 200 * time.Millisecond
	// veryLossy is the share of lost packets that needs no second look.
	veryLossy = 0.25
	fits      = 0.9
	// settle is how long after a change nothing is concluded from losses, which are still
	// those from before, and learnt the same for the rate that the way carries, of which a
	// transport knows no more at first than what happened to be sent.
	settle = 2 * time.Second
	learnt = 4 * time.Second
	// ample is how much more than the rate of the next layer must be there to go to it
	// after calm. Transports that only see what is sent do not tell of more: then it is
	// tried out after patience, and if that fails after twice as long, up to maxPatience.
	ample       = 1.2
	calm        = 5 * time.Second
	patience    = 10 * time.Second
	maxPatience = 2 * time.Minute
	// proven is how long a layer must hold for a trial to have gone well.
	proven = 15 * time.Second
)

// reason is why a viewer's layer changes; a label of a metric.
type reason string

const (
	keeps     reason = ""
	starts    reason = "start"
	goesDown  reason = "down"
	goesUp    reason = "up"
	wished    reason = "wish"
	goneLayer reason = "unavailable"
)

// adapt chooses a viewer's layer by what its way can carry. It goes down at once, and up
// when it was calm for long.
type adapt struct {
	current  string
	changed  time.Time
	scarce   time.Time     // since when it is too little
	lossyAt  time.Time     // since when too much is lost
	rtt      time.Duration // the shortest round trip
	calmFrom time.Time
	patience time.Duration
	trial    bool
	wish     string
}

// choose returns which of the layers, best first, to send now; there is one. Layers above
// the one that the viewer wishes are not among them.
func (a *adapt) choose(now time.Time, layers []layer, e Estimate, wish string) (int, reason) {
	i := slices.IndexFunc(layers, func(l layer) bool { return l.feed == a.current })
	asked := wish != a.wish
	a.wish = wish
	switch {
	case a.current == "":
		a.patience = patience
		return a.take(now, layers, first(layers), starts)
	case i < 0:
		return a.take(now, layers, best(layers, 0, e), goneLayer)
	case asked && wish != "" && i > 0:
		// Somebody who asks for it gets it, even if it turns out not to fit.
		a.trial = true
		return a.take(now, layers, 0, wished)
	}
	if a.trial && now.Sub(a.changed) >= proven {
		a.trial, a.patience = false, patience
	}
	if a.poor(now, layers[i].rate, e) {
		a.calmFrom = now
		if i == len(layers)-1 {
			return i, keeps
		}
		if a.trial {
			a.trial, a.patience = false, min(2*a.patience, maxPatience)
		}
		return a.take(now, layers, best(layers, i+1, e), goesDown)
	}
	if e.Loss > noLoss || !a.scarce.IsZero() {
		a.calmFrom = now
	}
	if i > 0 && a.rises(now, layers[i].rate, layers[i-1].rate, e) {
		a.trial = true
		return a.take(now, layers, i-1, goesUp)
	}
	return i, keeps
}

// take makes layers[i] the current one.
func (a *adapt) take(now time.Time, layers []layer, i int, why reason) (int, reason) {
	a.current, a.changed, a.calmFrom = layers[i].feed, now, now
	a.scarce, a.lossyAt = time.Time{}, time.Time{}
	return i, why
}

// poor tells whether the way carries less than the rate.
func (a *adapt) poor(now time.Time, rate int64, e Estimate) bool {
	if e.RTT > 0 && (a.rtt == 0 || e.RTT < a.rtt) {
		a.rtt = e.RTT
	}
	since := now.Sub(a.changed)
	if since < settle {
		return false
	}
	if e.Loss <= lossy {
		a.lossyAt = time.Time{}
	} else if a.lossyAt.IsZero() {
		a.lossyAt = now
	}
	if since < learnt || e.Bitrate <= 0 || float64(e.Bitrate) >= tooLittle*float64(rate) {
		a.scarce = time.Time{}
	} else if a.scarce.IsZero() {
		a.scarce = now
	}
	enough := scarceFor
	if e.RTT > 0 && e.RTT < a.rtt+queued && e.Loss <= noLoss {
		enough = doubtful
	}
	return e.Loss > veryLossy || !a.lossyAt.IsZero() && now.After(a.lossyAt) || !a.scarce.IsZero() && now.Sub(a.scarce) >= enough
}

// rises tells whether the next layer, of the rate next, is worth going to.
func (a *adapt) rises(now time.Time, rate, next int64, e Estimate) bool {
	quiet := now.Sub(a.calmFrom)
	if float64(e.Bitrate) >= ample*float64(next) && next > 0 {
		return quiet >= max(calm, a.patience-patience)
	}
	return quiet >= a.patience && (e.Bitrate == 0 || e.Bitrate >= rate)
}

// best returns the best of the layers from the given one on that the way can carry, and
// the last if it can carry none.
func best(layers []layer, from int, e Estimate) int {
	room := float64(startRate)
	if e.Bitrate > 0 {
		room = fits * float64(e.Bitrate)
	}
	for i := from; i < len(layers); i++ {
		if float64(layers[i].rate) <= room {
			return i
		}
	}
	return len(layers) - 1
}

// first returns the layer to begin with. What is on its way already is there at once, and
// nothing is known of the viewer's way yet; what has to be made first is not.
func first(layers []layer) int {
	at := -1
	for i, l := range layers {
		if l.made {
			continue
		}
		if at = i; l.rate <= startRate {
			break
		}
	}
	if at < 0 {
		return best(layers, 0, Estimate{})
	}
	return at
}
