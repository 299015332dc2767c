package hub

// deque is a first-in first-out queue in one growing ring, so that a feed in its
// steady state neither allocates nor moves anything.
type deque[T any] struct {
	buf  []T // its length is 0 or a power of two
	head int
	n    int
}

// minDeque is the capacity a deque begins with.
const minDeque = 16

func (d *deque[T]) len() int { return d.n }

// at returns the i-th element from the front; i must be less than len.
func (d *deque[T]) at(i int) *T { return &d.buf[(d.head+i)&(len(d.buf)-1)] }

func (d *deque[T]) push(v T) {
	if d.n == len(d.buf) {
		d.resize(max(minDeque, 2*d.n))
	}
	d.buf[(d.head+d.n)&(len(d.buf)-1)] = v
	d.n++
}

// pop removes the front element. The slot is zeroed so that the collector can have
// what it pointed to, and a ring that has become far too large is halved.
func (d *deque[T]) pop() T {
	var zero T
	v := d.buf[d.head]
	d.buf[d.head] = zero
	d.head = (d.head + 1) & (len(d.buf) - 1)
	d.n--
	if len(d.buf) > minDeque && d.n < len(d.buf)/8 {
		d.resize(len(d.buf) / 2)
	}
	return v
}

func (d *deque[T]) resize(size int) {
	buf := make([]T, size)
	for i := range d.n {
		buf[i] = *d.at(i)
	}
	d.buf, d.head = buf, 0
}
