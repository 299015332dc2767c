package chat

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"onair/internal/fault"
)

// link finds what readers or their programs would take for an address.
var link = regexp.MustCompile(`(?i)(?:\b[a-z][a-z0-9+.-]*://|\bwww\.|\b(?:[a-z0-9-]+\.)+(?:com|net|org|io|gg|tv|me|co|app|dev|xyz|ru|cn|info|biz|link|live|shop|site|online|top|ly|to|de|uk|fr|es|br|jp)\b)`)

// clean returns a text as it is shown: without control characters, and with one space where
// there were more.
func clean(s string) string {
	var b strings.Builder
	marks, space := 0, false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			space = b.Len() > 0
			continue
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == utf8.RuneError || r == '\ufeff' || r == '\u200b':
			continue
		case unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Me, r):
			if marks++; marks > maxMarks {
				continue
			}
		default:
			marks = 0
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(r)
	}
	return b.String()
}

// checkName returns a name as it is shown.
func checkName(name string) (string, error) {
	name = clean(name)
	if utf8.RuneCountInString(name) > maxName {
		return "", fault.New(fault.TooLarge, "enter", "the chat", "the name is longer than 40 characters", "Choose a shorter one.")
	}
	return name, nil
}

// checkText returns a message as it is shown, or why it cannot be sent.
func (s *Settings) checkText(text string, role Role) (string, error) {
	refuse := func(k fault.Kind, cause, hint string) (string, error) {
		return "", fault.New(k, "send", "the message", cause, hint)
	}
	if len(text) > 8*maxText {
		return refuse(fault.TooLarge, "the message is longer than 500 characters", "Say it in two.")
	}
	text = clean(text)
	switch {
	case text == "":
		return refuse(fault.Invalid, "the message is empty", "Write something first.")
	case utf8.RuneCountInString(text) > maxText:
		return refuse(fault.TooLarge, "the message is longer than 500 characters", "Say it in two.")
	case role.moderates():
		return text, nil
	case !s.Links && link.MatchString(text):
		return refuse(fault.Forbidden, "links are not allowed in this chat", "Send it without the address.")
	}
	folded := strings.ToLower(text)
	for _, w := range s.BlockedWords {
		if w != "" && hasWord(folded, w) {
			return refuse(fault.Forbidden, "the message has a word that is not allowed in this chat", "Say it in other words.")
		}
	}
	return text, nil
}

// hasWord reports whether a word stands in a text, not only as part of a longer one.
func hasWord(text, word string) bool {
	for from := 0; ; {
		i := strings.Index(text[from:], word)
		if i < 0 {
			return false
		}
		at, end := from+i, from+i+len(word)
		before, _ := utf8.DecodeLastRuneInString(text[:at])
		after, _ := utf8.DecodeRuneInString(text[end:])
		if !isLetter(before) && !isLetter(after) {
			return true
		}
		_, n := utf8.DecodeRuneInString(text[at:])
		from = at + n
	}
}

func isLetter(r rune) bool {
	return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r))
}

// mayWrite reports why somebody may not write in a room of these settings at all.
func (s *Settings) mayWrite(role Role) error {
	switch {
	case role.moderates() || s.Mode == Everyone || s.Mode == Members && role == Member:
		return nil
	case s.Mode == Members:
		return fault.New(fault.Forbidden, "send", "the message", "only members may write in this chat", "Sign in where you found this stream.")
	default:
		return fault.New(fault.Forbidden, "send", "the message", "the chat is closed", "")
	}
}

// The most that settings may have.
const maxSlowMode, maxBlocked, maxBlockedWord = 3600, 500, 60

// check returns settings as they are kept.
func (s Settings) check() (Settings, error) {
	refuse := func(field, cause, hint string) (Settings, error) {
		return s, fault.New(fault.Invalid, "set up the chat", field, cause, hint)
	}
	switch {
	case s.Mode != Everyone && s.Mode != Members && s.Mode != Closed:
		return refuse("mode", "there is no such mode", "Use everyone, members or closed.")
	case s.SlowMode < 0 || s.SlowMode > maxSlowMode:
		return refuse("slow_mode", "it is not between 0 and 3600 seconds", "Use 0 to switch it off.")
	case len(s.BlockedWords) > maxBlocked:
		return refuse("blocked_words", "there are more than 500", "Leave some out.")
	}
	words := make([]string, 0, len(s.BlockedWords))
	for _, w := range s.BlockedWords {
		if w = strings.ToLower(clean(w)); w == "" {
			continue
		}
		if utf8.RuneCountInString(w) > maxBlockedWord {
			return refuse("blocked_words", "one of them is longer than 60 characters", "Shorten it.")
		}
		words = append(words, w)
	}
	s.BlockedWords = words
	return s, nil
}
