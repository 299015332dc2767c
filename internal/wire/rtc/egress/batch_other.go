//go:build !linux

package egress

type systemBatch struct{}

func (b *batch) prepare() {}

func (b *batch) send() {
	for i := range b.msgs {
		b.plain(&b.msgs[i])
	}
}

// resolve makes the system's form of an address.
func (p *path) resolve(_ bool) {}
