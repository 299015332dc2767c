package ts

import "strings"

// languages maps the codes of ISO 639-2, which transport streams have, to the shorter ones
// of ISO 639-1, which BCP 47 asks for where there is one.
var languages = map[string]string{
	"ara": "ar", "bul": "bg", "cat": "ca", "ces": "cs", "cze": "cs", "cym": "cy", "wel": "cy",
	"dan": "da", "deu": "de", "ger": "de", "ell": "el", "gre": "el", "eng": "en", "spa": "es",
	"est": "et", "eus": "eu", "baq": "eu", "fas": "fa", "per": "fa", "fin": "fi", "fra": "fr",
	"fre": "fr", "gle": "ga", "glg": "gl", "heb": "he", "hin": "hi", "hrv": "hr", "hun": "hu",
	"ind": "id", "isl": "is", "ice": "is", "ita": "it", "jpn": "ja", "kor": "ko", "lit": "lt",
	"lav": "lv", "msa": "ms", "may": "ms", "nld": "nl", "dut": "nl", "nor": "no", "pol": "pl",
	"por": "pt", "ron": "ro", "rum": "ro", "rus": "ru", "slk": "sk", "slo": "sk", "slv": "sl",
	"srp": "sr", "swe": "sv", "tam": "ta", "tel": "te", "tha": "th", "tur": "tr", "ukr": "uk",
	"urd": "ur", "vie": "vi", "zho": "zh", "chi": "zh",
}

// language returns the BCP 47 tag that an element's ISO 639 descriptor tells.
func (e element) language() string {
	d := e.descriptor(0x0a)
	if len(d) < 3 {
		return ""
	}
	code := strings.ToLower(string(d[:3]))
	if short, ok := languages[code]; ok {
		return short
	}
	for _, c := range code {
		if c < 'a' || c > 'z' {
			return ""
		}
	}
	switch code {
	case "und", "mul", "mis", "zxx", "qaa":
		return ""
	}
	return code
}

// languageCode returns three letters for a BCP 47 tag; "" if there are none.
func languageCode(tag string) string {
	tag, _, _ = strings.Cut(strings.ToLower(tag), "-")
	if len(tag) == 3 {
		return tag
	}
	best := ""
	for long, short := range languages {
		if short == tag && (best == "" || long < best) {
			best = long
		}
	}
	return best
}
