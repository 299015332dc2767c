package rtmp

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/bluenviron/gortmplib/pkg/amf0"

	"onair/internal/fault"
	"onair/internal/media/flv"
)

const (
	// maxAMFDepth bounds the nesting of AMF values. Encoders nest three deep.
	maxAMFDepth = 16
	// maxAMFValues bounds the values of one message, properties of objects included. A
	// key frame index of a file has one value for each of its nine bytes.
	maxAMFValues = 8192
)

// AMF0 markers (AMF0 specification, 2.1).
const (
	amfNumber      = 0x00
	amfBoolean     = 0x01
	amfString      = 0x02
	amfObject      = 0x03
	amfNull        = 0x05
	amfUndefined   = 0x06
	amfReference   = 0x07
	amfECMAArray   = 0x08
	amfObjectEnd   = 0x09
	amfStrictArray = 0x0a
	amfDate        = 0x0b
	amfLongString  = 0x0c
	amfUnsupported = 0x0d
	amfXML         = 0x0f
	amfTypedObject = 0x10
	amfAMF3        = 0x11
)

// decodeAMF reads the values of a command or data message. What the library would
// recurse into without a bound is bounded before the library sees it.
func decodeAMF(b []byte) (amf0.Data, error) {
	clean, err := cleanAMF(b)
	if err != nil {
		return nil, err
	}
	data, err := amf0.Unmarshal(clean)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "read", "AMF0 values", err, "")
	}
	return data, nil
}

// amfName reads the string that a command or data message begins with, and nothing of
// what follows; empty if there is none.
func amfName(b []byte) string {
	if len(b) < 3 || b[0] != amfString {
		return ""
	}
	n := int(binary.BigEndian.Uint16(b[1:]))
	if len(b) < 3+n {
		return ""
	}
	return string(b[3 : 3+n])
}

// amfScan walks AMF0 values without recursion. It counts what it finds against the
// bounds and copies it in the form that the library knows: typed objects without their
// class, dates as numbers, long strings shortened, references and XML as null, and an
// object that the message ends in the middle of (as hardware encoders send onMetaData)
// closed.
type amfScan struct {
	in, out []byte
	values  int
	// open are the containers around the next value: -1 for an object, else the
	// number of elements that a strict array still has.
	open [maxAMFDepth]int
	deep int
}

func cleanAMF(b []byte) ([]byte, error) {
	s := amfScan{in: b, out: make([]byte, 0, len(b)+3)}
	for {
		more, err := s.atValue()
		if err != nil {
			return nil, err
		}
		if !more {
			return s.out, nil
		}
		if err := s.value(); err != nil {
			return nil, err
		}
	}
}

// atValue leaves the containers that end here and reads the key of a property. It
// reports whether a value follows.
func (s *amfScan) atValue() (bool, error) {
	for s.deep > 0 {
		left := &s.open[s.deep-1]
		switch {
		case *left == 0:
			s.deep--
			continue
		case *left > 0:
			*left--
			return true, nil
		}
		// Inside an object: a key, or the end.
		end, err := s.key()
		if err != nil || !end {
			return !end, err
		}
		s.out = append(s.out, 0, 0, amfObjectEnd)
		s.deep--
	}
	return len(s.in) > 0, nil
}

// key copies the key of a property and reports whether the object ends instead.
func (s *amfScan) key() (end bool, err error) {
	if len(s.in) < 2 {
		s.in = nil
		return true, nil
	}
	n := int(binary.BigEndian.Uint16(s.in))
	if n == 0 {
		s.in = s.in[2:]
		if len(s.in) == 0 {
			return true, nil
		}
		if s.in[0] != amfObjectEnd {
			return false, badAMF("a property has no name")
		}
		s.in = s.in[1:]
		return true, nil
	}
	if len(s.in) < 2+n {
		return false, badAMF("a property's name is cut off")
	}
	if len(s.in) == 2+n { // the message ends behind the key
		s.in = nil
		return true, nil
	}
	s.out = append(s.out, s.in[:2+n]...)
	s.in = s.in[2+n:]
	return false, nil
}

// sizes of the values that are copied as they are.
func amfSize(marker byte) (int, bool) {
	switch marker {
	case amfNumber:
		return 8, true
	case amfBoolean:
		return 1, true
	case amfNull, amfUndefined:
		return 0, true
	default:
		return 0, false
	}
}

func (s *amfScan) value() error {
	if s.values++; s.values > maxAMFValues {
		return fault.New(fault.TooMany, "read", "AMF0 values", fmt.Sprintf("more than %d values in a message", maxAMFValues), "")
	}
	if len(s.in) == 0 {
		return badAMF("an array is cut off")
	}
	marker := s.in[0]
	s.in = s.in[1:]
	if n, ok := amfSize(marker); ok {
		b, err := s.take(n)
		s.out = append(append(s.out, marker), b...)
		return err
	}
	switch marker {
	case amfString:
		return s.text(2, true)
	case amfLongString:
		return s.text(4, true)
	case amfXML:
		return s.text(4, false)
	case amfReference:
		_, err := s.take(2)
		s.out = append(s.out, amfNull)
		return err
	case amfUnsupported:
		s.out = append(s.out, amfNull)
		return nil
	case amfDate:
		b, err := s.take(10)
		if err == nil {
			s.out = append(append(s.out, amfNumber), b[:8]...)
		}
		return err
	case amfObject:
		s.out = append(s.out, amfObject)
		return s.enter(-1)
	case amfTypedObject:
		n, err := s.length(2)
		if err == nil {
			_, err = s.take(n)
		}
		if err != nil {
			return err
		}
		s.out = append(s.out, amfObject)
		return s.enter(-1)
	case amfECMAArray:
		b, err := s.take(4) // a hint that some encoders get wrong
		if err != nil {
			return err
		}
		s.out = append(append(s.out, amfECMAArray), b...)
		return s.enter(-1)
	case amfStrictArray:
		n, err := s.length(4)
		if err != nil {
			return err
		}
		if n > len(s.in) { // every element takes a byte
			return badAMF(fmt.Sprintf("an array of %d values in a message with %d bytes left", n, len(s.in)))
		}
		s.out = binary.BigEndian.AppendUint32(append(s.out, amfStrictArray), uint32(n))
		return s.enter(n)
	case amfAMF3:
		return fault.New(fault.Unsupported, "read", "AMF0 values", "a value is in AMF3", "Set the encoder's object encoding to AMF0")
	default:
		return badAMF(fmt.Sprintf("type 0x%02x is not known", marker))
	}
}

func (s *amfScan) enter(elements int) error {
	if s.deep == maxAMFDepth {
		return fault.New(fault.TooLarge, "read", "AMF0 values", fmt.Sprintf("values are nested more than %d deep", maxAMFDepth), "")
	}
	s.open[s.deep] = elements
	s.deep++
	return nil
}

// text copies a string whose length has that many bytes, or null in its place.
func (s *amfScan) text(size int, keep bool) error {
	n, err := s.length(size)
	if err != nil {
		return err
	}
	b, err := s.take(n)
	if err != nil {
		return err
	}
	if !keep {
		s.out = append(s.out, amfNull)
		return nil
	}
	b = b[:min(len(b), 0xffff)]
	s.out = append(binary.BigEndian.AppendUint16(append(s.out, amfString), uint16(len(b))), b...)
	return nil
}

func (s *amfScan) length(size int) (int, error) {
	b, err := s.take(size)
	if err != nil {
		return 0, err
	}
	if size == 2 {
		return int(binary.BigEndian.Uint16(b)), nil
	}
	return int(binary.BigEndian.Uint32(b)), nil
}

func (s *amfScan) take(n int) ([]byte, error) {
	if n > len(s.in) {
		return nil, badAMF("a value is cut off")
	}
	b := s.in[:n]
	s.in = s.in[n:]
	return b, nil
}

func badAMF(cause string) error {
	return fault.New(fault.Invalid, "read", "AMF0 values", cause, "")
}

// object returns the properties of v, be it an object or an ECMA array.
func object(v any) (amf0.Object, bool) {
	switch v := v.(type) {
	case amf0.Object:
		return v, true
	case amf0.ECMAArray:
		return amf0.Object(v), true
	default:
		return nil, false
	}
}

// metadataOf turns the properties of onMetaData into the values of flv.
func metadataOf(o amf0.Object) flv.Metadata {
	out := make(flv.Metadata, len(o))
	for _, e := range o {
		out[e.Key] = plain(e.Value)
	}
	return out
}

// plain recurses as deep as cleanAMF allowed.
func plain(v any) any {
	if o, ok := object(v); ok {
		return metadataOf(o)
	}
	switch v := v.(type) {
	case amf0.StrictArray:
		out := make([]any, len(v))
		for i := range v {
			out[i] = plain(v[i])
		}
		return out
	case amf0.Undefined:
		return nil
	default:
		return v
	}
}

// amfOf is the inverse of metadataOf, in the order of the keys.
func amfOf(m flv.Metadata) amf0.ECMAArray {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	out := make(amf0.ECMAArray, 0, len(m))
	for _, k := range keys {
		v := m[k]
		if nested, ok := v.(flv.Metadata); ok {
			v = amf0.Object(amfOf(nested))
		}
		out = append(out, amf0.ObjectEntry{Key: k, Value: v})
	}
	return out
}
