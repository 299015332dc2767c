package doctor

import (
	"slices"
	"time"
)

// answer is what a rule says at one moment.
type answer uint8

const (
	cannotTell answer = iota // a reading that it needs is unknown: leave things as they are
	no
	yes
)

// verdict is the answer of a rule, and if it is yes the sentence and the numbers.
type verdict struct {
	is       answer
	title    string
	evidence map[string]any
	// severity replaces the catalogue's, if set.
	severity Severity
}

var (
	unclear = verdict{is: cannotTell}
	fine    = verdict{is: no}
)

// condition is the state of one rule for one publisher, with hysteresis: it is raised
// after it held for a while, and cleared after it did not.
type condition struct {
	held    time.Time // since when the answer has been yes; zero if it is not
	over    time.Time // since when a raised one has been answered with no
	raised  bool
	finding Finding
}

// update takes the rule's answer and reports whether the finding was raised or cleared.
func (c *condition) update(e *entry, v verdict, now time.Time) (raised, cleared bool) {
	switch v.is {
	case yes:
		c.over = time.Time{}
		if c.held.IsZero() {
			c.held = now
		}
		if !c.raised && now.Sub(c.held) < e.raise {
			return false, false
		}
		raised = !c.raised
		if raised {
			c.raised = true
			c.finding.Since = c.held
			c.finding.Count++
		}
		c.finding.Code, c.finding.Fix = e.code, e.fix
		c.finding.Severity, c.finding.Title, c.finding.Evidence = e.severity, v.title, v.evidence
		if v.severity != "" {
			c.finding.Severity = v.severity
		}
		return raised, false
	case no:
		c.held = time.Time{}
		if !c.raised {
			return false, false
		}
		if c.over.IsZero() {
			c.over = now
		}
		if now.Sub(c.over) < e.clear {
			return false, false
		}
		c.raised, c.over = false, time.Time{}
		return false, true
	default:
		c.over = time.Time{}
		if !c.raised {
			c.held = time.Time{}
		}
		return false, false
	}
}

// weights are by how much a finding lowers the score.
var weights = map[Severity]int{Critical: 40, Warning: 15, Info: 2}

// rank orders severities, the worst first.
var rank = map[Severity]int{Critical: 0, Warning: 1, Info: 2}

// judge says what a list of findings comes to.
func judge(findings []Finding) (Status, int) {
	status, score := Good, 100
	for i := range findings {
		score -= weights[findings[i].Severity]
		switch findings[i].Severity {
		case Critical:
			status = Bad
		case Warning:
			if status == Good {
				status = Degraded
			}
		}
	}
	return status, max(0, score)
}

// sorted puts the worst findings first; among equals the order of the catalogue stays.
func sorted(findings []Finding) []Finding {
	slices.SortStableFunc(findings, func(a, b Finding) int { return rank[a.Severity] - rank[b.Severity] })
	return findings
}
