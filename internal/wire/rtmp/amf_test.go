package rtmp

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortmplib/pkg/amf0"
	"github.com/google/go-cmp/cmp"

	"onair/internal/fault"
	"onair/internal/media/flv"
)

var amfOptions = cmp.AllowUnexported(amf0.Undefined{})

func fromHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDecodeAMF(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     amf0.Data
	}{
		{"number, bool, string, null, undefined", "00 3ff0000000000000 01 01 02 0001 61 05 06", amf0.Data{1.0, true, "a", nil, amf0.Undefined{}}},
		{"object", "03 0001 61 05 0000 09", amf0.Data{amf0.Object{{Key: "a"}}}},
		{"array with a wrong count", "08 ffffffff 0001 61 05 0000 09", amf0.Data{amf0.ECMAArray{{Key: "a"}}}},
		{"strict array", "0a 00000002 05 01 00 05", amf0.Data{amf0.StrictArray{nil, false}, nil}},
		{"empty strict array in an object", "03 0001 61 0a 00000000 0000 09 05", amf0.Data{amf0.Object{{Key: "a", Value: amf0.StrictArray{}}}, nil}},
		{"no object end", "08 00000000 0001 61 05", amf0.Data{amf0.ECMAArray{{Key: "a"}}}},
		{"half an object end", "08 00000000 0001 61 05 0000", amf0.Data{amf0.ECMAArray{{Key: "a"}}}},
		{"one byte of an object end", "08 00000000 0001 61 05 00", amf0.Data{amf0.ECMAArray{{Key: "a"}}}},
		{"two objects not ended", "03 0001 61 03 0001 62 05", amf0.Data{amf0.Object{{Key: "a", Value: amf0.Object{{Key: "b"}}}}}},
		{"date", "0b 3ff0000000000000 0000", amf0.Data{1.0}},
		{"long string", "0c 00000001 61", amf0.Data{"a"}},
		{"reference, unsupported, XML", "07 0001 0d 0f 00000002 6161", amf0.Data{nil, nil, nil}},
		{"typed object", "10 0002 4141 0001 61 05 0000 09", amf0.Data{amf0.Object{{Key: "a"}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decodeAMF(fromHex(t, tt.in))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got, amfOptions); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestDecodeAMFRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		kind     fault.Kind
	}{
		{"number cut off", "00 3f", fault.Invalid},
		{"string cut off", "02 0005 61", fault.Invalid},
		{"long string cut off", "0c ffffffff 61", fault.Invalid},
		{"key cut off", "03 0005 61", fault.Invalid},
		{"array cut off", "0a 00000001", fault.Invalid},
		{"array of 2^32-1", "0a ffffffff 05", fault.Invalid},
		{"property without a name", "03 0000 05", fault.Invalid},
		{"typed object cut off", "10 00", fault.Invalid},
		{"AMF3", "11 0a 0b 01", fault.Unsupported},
		{"unknown marker", "77", fault.Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := decodeAMF(fromHex(t, tt.in)); !fault.Is(err, tt.kind) {
				t.Errorf("decoded %v with %v, want %s", got, err, tt.kind)
			}
		})
	}
}

// nested returns values in values, as deep as asked for.
func nested(marker byte, depth int) []byte {
	opening := map[byte][]byte{
		amfObject:      {amfObject, 0, 1, 'a'},
		amfECMAArray:   {amfECMAArray, 0, 0, 0, 1, 0, 1, 'a'},
		amfStrictArray: {amfStrictArray, 0, 0, 0, 1},
		amfTypedObject: {amfTypedObject, 0, 1, 'X', 0, 1, 'a'},
	}[marker]
	return append(bytes.Repeat(opening, depth), amfNull)
}

func TestAMFBombs(t *testing.T) {
	type bomb struct {
		name string
		in   []byte
		kind fault.Kind
	}
	bombs := []bomb{
		{"a million nulls", bytes.Repeat([]byte{amfNull}, 1<<20), fault.TooMany},
		{"a million empty objects", bytes.Repeat([]byte{amfObject, 0, 0, amfObjectEnd}, 1<<18), fault.TooMany},
		{"a million empty arrays in an array", append([]byte{amfStrictArray, 0, 4, 0, 0}, bytes.Repeat([]byte{amfStrictArray, 0, 0, 0, 0}, 1<<18)...), fault.TooMany},
		{"arrays that claim all that is left", bytes.Repeat([]byte{amfStrictArray, 0, 0, 0x40, 0}, 1<<17), fault.TooLarge},
	}
	for _, marker := range []byte{amfObject, amfECMAArray, amfStrictArray, amfTypedObject} {
		for _, depth := range []int{maxAMFDepth + 1, 65, 1000, 100_000, 1_500_000} {
			bombs = append(bombs, bomb{fmt.Sprintf("%d levels of 0x%02x", depth, marker), nested(marker, depth), fault.TooLarge})
		}
	}
	for _, b := range bombs {
		t.Run(b.name, func(t *testing.T) {
			start := time.Now()
			if _, err := decodeAMF(b.in); !fault.Is(err, b.kind) {
				t.Errorf("the error is %v, want %s", err, b.kind)
			}
			if d := time.Since(start); d > 5*time.Second {
				t.Errorf("it took %v", d)
			}
		})
	}
	for _, marker := range []byte{amfObject, amfECMAArray, amfStrictArray} {
		if _, err := decodeAMF(nested(marker, maxAMFDepth)); err != nil {
			t.Errorf("%d levels of 0x%02x: %v", maxAMFDepth, marker, err)
		}
	}
}

func TestMetadataRoundTrip(t *testing.T) {
	want := flv.Metadata{"a": 1.0, "b": "text", "c": true, "d": flv.Metadata{"e": nil, "f": flv.Metadata{"g": 2.0}}}
	b, err := amf0.Data{amfOf(want)}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	data, err := decodeAMF(b)
	if err != nil {
		t.Fatal(err)
	}
	o, _ := object(data[0])
	if d := cmp.Diff(want, metadataOf(o)); d != "" {
		t.Error(d)
	}
}
