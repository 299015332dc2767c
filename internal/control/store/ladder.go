package store

import "encoding/json"

// Ladder is in which renditions a stream can be watched besides as it comes. The zero
// value leaves everything to the server. What the words mean is not the store's business.
type Ladder struct {
	// Profile names one of the server's ladders, Rungs stand in place of one, the best
	// first.
	Profile string
	Rungs   []string
	// Mode is when they are encoded.
	Mode string
}

// IsZero tells whether everything is left to the server.
func (l Ladder) IsZero() bool { return l.Profile == "" && len(l.Rungs) == 0 && l.Mode == "" }

// keep writes the ladder into a row.
func (l Ladder) keep(r *streamRow) error {
	rungs := []byte("[]")
	if len(l.Rungs) > 0 {
		var err error
		if rungs, err = json.Marshal(l.Rungs); err != nil {
			return err
		}
	}
	r.LadderProfile, r.LadderRungs, r.LadderMode = l.Profile, string(rungs), l.Mode
	return nil
}

// ladder reads it back.
func (r *streamRow) ladder() (Ladder, error) {
	l := Ladder{Profile: r.LadderProfile, Mode: r.LadderMode}
	if err := json.Unmarshal([]byte(r.LadderRungs), &l.Rungs); err != nil {
		return Ladder{}, err
	}
	if len(l.Rungs) == 0 {
		l.Rungs = nil
	}
	return l, nil
}
