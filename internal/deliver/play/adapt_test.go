package play

import (
	"testing"
	"time"
)

// way is a viewer's way: what it carries, and what a transport that sees only what is sent
// makes of that.
type way struct {
	carries int64
	blind   bool // the transport estimates nothing
}

// estimate is what the transport tells while the layer is sent.
func (w way) estimate(rate int64) Estimate {
	e := Estimate{Bitrate: min(w.carries, rate*3/2)}
	if rate > w.carries {
		e.Loss = float64(rate-w.carries) / float64(rate)
	}
	if w.blind {
		e.Bitrate = 0
	}
	return e
}

// watchFor lets a viewer watch for a time, and returns the layer in the end and how often
// it was changed.
func (a *adapt) watchFor(now *time.Time, d time.Duration, layers []layer, w way, wish string) (name string, changes int) {
	i, why := a.choose(*now, layers, Estimate{}, wish)
	if why != keeps && why != starts {
		changes++
	}
	for end := now.Add(d); now.Before(end); {
		*now = now.Add(watchTick)
		if i, why = a.choose(*now, layers, w.estimate(layers[i].rate), wish); why != keeps {
			changes++
		}
	}
	return layers[i].name, changes
}

var fourLayers = []layer{
	{name: "source", feed: "source", rate: 4_000_000},
	{name: "720p", feed: "720p", rate: 2_000_000, made: true},
	{name: "480p", feed: "480p", rate: 900_000, made: true},
	{name: "360p", feed: "360p", rate: 400_000, made: true},
}

func TestAdaptFindsWhatFits(t *testing.T) {
	for _, tt := range []struct {
		carries int64
		want    string
	}{
		{10_000_000, "source"}, {3_000_000, "720p"}, {1_200_000, "480p"}, {500_000, "360p"}, {100_000, "360p"},
	} {
		for _, blind := range []bool{false, true} {
			var a adapt
			now := time.Unix(1_700_000_000, 0)
			w := way{tt.carries, blind}
			name, changes := a.watchFor(&now, 30*time.Second, fourLayers, w, "")
			if name != tt.want || changes > 6 {
				t.Errorf("%d bit/s, blind %v: %s after %d changes", tt.carries, blind, name, changes)
			}
			// What lies above is tried less and less often, and never for long.
			if _, changes := a.watchFor(&now, 20*time.Minute, fourLayers, w, ""); changes > 36 {
				t.Errorf("%d bit/s, blind %v: %d changes in 20 minutes", tt.carries, blind, changes)
			}
			// The way becomes wide.
			name, _ = a.watchFor(&now, 5*time.Minute, fourLayers, way{20_000_000, blind}, "")
			if name != "source" {
				t.Errorf("%d bit/s, blind %v: %s on a wide way", tt.carries, blind, name)
			}
			// And narrow again: down at once.
			if name, _ = a.watchFor(&now, 10*time.Second, fourLayers, way{500_000, blind}, ""); name == "source" || name == "720p" {
				t.Errorf("blind %v: %s on a way that became narrow", blind, name)
			}
		}
	}
}

// TestAdaptBegins with what is there at once, and not with what is too much for most.
func TestAdaptBegins(t *testing.T) {
	large := layer{name: "source", feed: "source", rate: 12_000_000}
	middle := layer{name: "v1", feed: "v1", rate: 3_000_000}
	made := layer{name: "720p", feed: "720p", rate: 2_000_000, made: true}
	realtime := layer{name: "realtime", feed: "realtime", rate: 9_000_000, made: true}
	for _, tt := range []struct {
		layers []layer
		want   string
	}{
		{fourLayers, "source"},
		{[]layer{large, middle}, "v1"},
		{[]layer{large, made}, "source"},
		{[]layer{realtime, made}, "720p"},
		{[]layer{realtime}, "realtime"},
	} {
		var a adapt
		i, why := a.choose(time.Now(), tt.layers, Estimate{Bitrate: 300_000}, "")
		if tt.layers[i].name != tt.want || why != starts {
			t.Errorf("it begins with %s, %s", tt.layers[i].name, why)
		}
	}
}

func TestAdaptLosesALayer(t *testing.T) {
	var a adapt
	now := time.Now()
	a.choose(now, fourLayers, Estimate{}, "")
	i, why := a.choose(now.Add(time.Second), fourLayers[1:], Estimate{Bitrate: 1_500_000}, "")
	if fourLayers[1:][i].name != "480p" || why != goneLayer {
		t.Errorf("%s, %s", fourLayers[1:][i].name, why)
	}
}

// TestAdaptDoesWhatIsWished, and goes down from it when that does not fit.
func TestAdaptDoesWhatIsWished(t *testing.T) {
	var a adapt
	now := time.Now()
	a.watchFor(&now, time.Minute, fourLayers[2:], way{carries: 3_000_000}, "480p")
	i, why := a.choose(now, fourLayers, Estimate{Bitrate: 1_500_000}, "source")
	if i != 0 || why != wished {
		t.Errorf("%s, %s", fourLayers[i].name, why)
	}
	if name, _ := a.watchFor(&now, 10*time.Second, fourLayers, way{carries: 1_000_000}, "source"); name != "480p" {
		t.Errorf("%s", name)
	}
}

// TestAdaptDoubts that a way is too narrow on which nothing is lost and nothing waits, for
// a while.
func TestAdaptDoubts(t *testing.T) {
	for _, tt := range []struct {
		e      Estimate
		within time.Duration
	}{
		{Estimate{Bitrate: 1_500_000, RTT: 30 * time.Millisecond}, 7 * time.Second},
		{Estimate{Bitrate: 1_500_000, RTT: 400 * time.Millisecond}, 2 * time.Second},
		{Estimate{Bitrate: 1_500_000, RTT: 30 * time.Millisecond, Loss: 0.05}, 2 * time.Second},
		{Estimate{Bitrate: 9_000_000, RTT: 30 * time.Millisecond, Loss: 0.15}, time.Second},
		{Estimate{Bitrate: 9_000_000, RTT: 30 * time.Millisecond, Loss: 0.3}, 0},
	} {
		var a adapt
		now := time.Now()
		a.choose(now, fourLayers, Estimate{}, "")
		for range 20 {
			now = now.Add(watchTick)
			a.choose(now, fourLayers, Estimate{Bitrate: 9_000_000, RTT: 20 * time.Millisecond}, "")
		}
		begun, i := now, 0
		for i == 0 && now.Sub(begun) < time.Minute {
			now = now.Add(watchTick)
			i, _ = a.choose(now, fourLayers, tt.e, "")
		}
		took := now.Sub(begun) - watchTick
		if took > tt.within || took < tt.within-2*time.Second {
			t.Errorf("%+v: down after %v", tt.e, took)
		}
	}
}
