package testcard

import (
	"math"
	"time"
)

// picture draws the frames of the test card as planar YUV 4:2:0 (BT.709, limited range).
type picture struct {
	width, height int
	background    []byte
	frame         []byte
}

type color struct{ y, u, v byte }

var (
	white = color{lumaWhite, 128, 128}
	black = color{lumaBlack, 128, 128}
	// bars are the 75 % colour bars, left to right.
	bars = [...]color{
		{180, 128, 128}, {168, 44, 136}, {145, 147, 44}, {133, 63, 52},
		{63, 193, 204}, {51, 109, 212}, {28, 212, 120},
	}
)

// newPicture prepares frames of that size; both sides must be even.
func newPicture(width, height int) *picture {
	p := &picture{width: width, height: height, frame: make([]byte, width*height*3/2)}
	for i, c := range bars {
		p.fill(i*width/len(bars), 0, (i+1)*width/len(bars), height, c)
	}
	p.fill(0, height*3/4, width, height, color{30, 128, 128})
	p.text(width/32, height*4/5, max(1, height/180), "ONAIR TEST PICTURE", white)
	p.background = append([]byte(nil), p.frame...)
	return p
}

// draw returns the frame for a moment. The slice is used again by the next call.
func (p *picture) draw(at time.Time, elapsed time.Duration) []byte {
	copy(p.frame, p.background)
	w, h := p.width, p.height

	// A ball on a path that never repeats a frame within a minute: motion for the
	// encoder, and for eyes that look for stutter.
	t := elapsed.Seconds()
	size := h / 8
	x := int((0.5 + 0.45*math.Sin(t*1.3)) * float64(w-size))
	y := int((0.45 + 0.2*math.Cos(t*2.1)) * float64(h-size))
	p.fill(x, y, x+size, y+size, white)

	// A second hand along the lower edge.
	p.fill(0, h-h/36, int(float64(w)*math.Mod(t, 1)), h, color{145, 54, 34})

	if isBeep(elapsed) {
		p.fill(w*7/8, h*13/16, w*15/16, h*15/16, white)
	}

	scale := max(1, h/90)
	digits := at.UTC().Format("15:04:05.000")
	textWidth := len(digits) * glyphAdvance * scale
	left, top := (w-textWidth)/2, h/2-glyphHeight*scale/2
	p.fill(left-scale*2, top-scale*2, left+textWidth+scale, top+(glyphHeight+2)*scale, black)
	p.text(left, top, scale, digits, white)

	word := clockWord(at)
	y0, y1 := int(float64(h)*clockTop), int(float64(h)*(clockTop+clockHeight))
	for bit := range clockBits {
		c := black
		if word>>(clockBits-1-bit)&1 == 1 {
			c = white
		}
		p.fill(bit*w/clockBits, y0, (bit+1)*w/clockBits, y1, c)
	}
	return p.frame
}

// fill paints the rectangle from (x0, y0) to (x1, y1), clipped to the frame.
func (p *picture) fill(x0, y0, x1, y1 int, c color) {
	x0, x1 = clip(x0, p.width), clip(x1, p.width)
	y0, y1 = clip(y0, p.height), clip(y1, p.height)
	for y := y0; y < y1; y++ {
		paint(p.frame[y*p.width+x0:y*p.width+x1], c.y)
	}
	cw := p.width / 2
	uPlane := p.frame[p.width*p.height:]
	vPlane := uPlane[cw*p.height/2:]
	for y := (y0 + 1) / 2; y < (y1+1)/2; y++ {
		paint(uPlane[y*cw+(x0+1)/2:y*cw+(x1+1)/2], c.u)
		paint(vPlane[y*cw+(x0+1)/2:y*cw+(x1+1)/2], c.v)
	}
}

func clip(v, limit int) int { return min(max(v, 0), limit&^1) }

func paint(row []byte, v byte) {
	for i := range row {
		row[i] = v
	}
}

// text draws s with its upper left corner at (x, y), each dot scale pixels wide.
func (p *picture) text(x, y, scale int, s string, c color) {
	for _, r := range s {
		rows := glyphs[r]
		for dy, row := range rows {
			for dx := range glyphWidth {
				if row>>(glyphWidth-1-dx)&1 == 1 {
					p.fill(x+dx*scale, y+dy*scale, x+(dx+1)*scale, y+(dy+1)*scale, c)
				}
			}
		}
		x += glyphAdvance * scale
	}
}
