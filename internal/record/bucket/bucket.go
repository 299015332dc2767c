// Package bucket keeps recordings in a bucket of an S3 server.
package bucket

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"onair/internal/fault"
	"onair/internal/record"
)

// Bucket is a record.Storage in a bucket. Every object is sent in one request with two
// checksums, which the server compares before it takes the object.
type Bucket struct {
	cfg       Config
	core      minio.Core
	transport *http.Transport
	log       *slog.Logger
}

const (
	// How long a server may take to be reached, and to begin an answer.
	dialTime   = 5 * time.Second
	answerTime = 30 * time.Second
	// attempts of a request within the client: whoever asks decides about more.
	attempts  = 2
	idleTime  = time.Minute
	idleConns = 32
)

// New returns the bucket that cfg names. Nothing is asked of the server yet; see Check.
func New(cfg Config, log *slog.Logger) (*Bucket, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	host, secure, err := cfg.host()
	if err != nil {
		return nil, err
	}
	b := &Bucket{cfg: cfg, log: log, transport: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTime}).DialContext,
		TLSHandshakeTimeout:   dialTime,
		ResponseHeaderTimeout: answerTime,
		IdleConnTimeout:       idleTime,
		MaxIdleConnsPerHost:   idleConns,
		DisableCompression:    true,
	}}
	lookup := minio.BucketLookupDNS
	if cfg.PathStyle {
		lookup = minio.BucketLookupPath
	}
	client, err := minio.New(host, &minio.Options{
		Creds:  credentials.NewStaticV4(cfg.AccessKey, string(cfg.SecretKey), ""),
		Secure: secure, Region: cfg.Region, BucketLookup: lookup, Transport: b.transport, MaxRetries: attempts,
	})
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "configure the bucket of recordings", cfg.Endpoint, err, "")
	}
	b.core = minio.Core{Client: client}
	return b, nil
}

// Close closes the connections that nobody uses.
func (b *Bucket) Close() { b.transport.CloseIdleConnections() }

// Check asks the server whether the bucket is there and may be read. The fault says what is
// wrong, and what to do.
func (b *Bucket) Check(ctx context.Context) error {
	const op = "look at the bucket of recordings"
	for o := range b.core.ListObjectsIter(ctx, b.cfg.Bucket, minio.ListObjectsOptions{Prefix: b.key(""), Recursive: true, MaxKeys: 1}) {
		return b.explain(ctx, op, b.cfg.Bucket, o.Err) // one is enough
	}
	return ctx.Err()
}

// key is the name that the server knows an object by.
func (b *Bucket) key(name string) string {
	if p := strings.Trim(b.cfg.Prefix, "/"); p != "" {
		return p + "/" + name
	}
	return name
}

// Put stores an object; see record.Storage.
func (b *Bucket) Put(ctx context.Context, name string, chunks [][]byte) error {
	const op = "store in the bucket"
	if err := record.CheckName(op, name); err != nil {
		return err
	}
	body := slices.Concat(chunks...) // in one piece, so that it can be sent again
	hash := sha256.Sum256(body)
	sum := base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli))))
	info, err := b.core.PutObject(ctx, b.cfg.Bucket, b.key(name), bytes.NewReader(body), int64(len(body)), "", hex.EncodeToString(hash[:]), minio.PutObjectOptions{
		DisableContentSha256: true, // of pieces: that of the whole is given
		UserMetadata:         map[string]string{"x-amz-checksum-crc32c": sum},
	})
	if err != nil {
		return b.explain(ctx, op, name, err)
	}
	if info.ChecksumCRC32C != "" && info.ChecksumCRC32C != sum {
		return fault.New(fault.Unavailable, op, name, "the server has other bytes than were sent", "See whether something between changes them")
	}
	return nil
}

// Open reads an object; see record.Storage.
func (b *Bucket) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	const op = "read from the bucket"
	if err := record.CheckName(op, name); err != nil {
		return nil, err
	}
	offset = max(0, offset)
	if length == 0 {
		_, err := b.core.StatObject(ctx, b.cfg.Bucket, b.key(name), minio.StatObjectOptions{})
		if err != nil {
			return nil, b.explain(ctx, op, name, err)
		}
		return http.NoBody, nil
	}
	var opts minio.GetObjectOptions
	if offset > 0 || length > 0 {
		to := int64(0) // to the end
		if length > 0 {
			to = offset + length - 1
		}
		spec := "bytes=" + strconv.FormatInt(offset, 10) + "-"
		if length > 0 {
			spec += strconv.FormatInt(to, 10)
		}
		opts.Set("Range", spec)
	}
	r, _, _, err := b.core.GetObject(ctx, b.cfg.Bucket, b.key(name), opts)
	if minio.ToErrorResponse(err).StatusCode == http.StatusRequestedRangeNotSatisfiable {
		return http.NoBody, nil // it ends before
	}
	if err != nil {
		return nil, b.explain(ctx, op, name, err)
	}
	return r, nil
}

// List returns objects; see record.Storage.
func (b *Bucket) List(ctx context.Context, prefix string) ([]record.Object, error) {
	const op = "list the bucket"
	if prefix != "" {
		if err := record.CheckName(op, prefix); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	root := b.key("")
	var out []record.Object
	for o := range b.core.ListObjectsIter(ctx, b.cfg.Bucket, minio.ListObjectsOptions{Prefix: b.key(prefix), Recursive: true}) {
		if o.Err != nil {
			return nil, b.explain(ctx, op, prefix, o.Err)
		}
		name, ok := strings.CutPrefix(o.Key, root)
		if ok && record.CheckName(op, name) == nil && (prefix == "" || name == prefix || strings.HasPrefix(name, prefix+"/")) {
			out = append(out, record.Object{Name: name, Size: o.Size})
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b record.Object) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Delete removes objects; see record.Storage.
func (b *Bucket) Delete(ctx context.Context, prefix string) error {
	const op = "delete from the bucket"
	if err := record.CheckName(op, prefix); err != nil {
		return err
	}
	list, err := b.List(ctx, prefix)
	if err != nil {
		return err
	}
	names := make([]string, len(list))
	for i, o := range list {
		names[i] = o.Name
	}
	return b.DeleteObjects(ctx, names)
}

// DeleteObjects removes many objects. It is not an error if one is not there.
func (b *Bucket) DeleteObjects(ctx context.Context, names []string) error {
	const op = "delete from the bucket"
	if len(names) == 1 {
		return b.explain(ctx, op, names[0], b.core.RemoveObject(ctx, b.cfg.Bucket, b.key(names[0]), minio.RemoveObjectOptions{}))
	}
	objects := make(chan minio.ObjectInfo, len(names))
	for _, name := range names {
		objects <- minio.ObjectInfo{Key: b.key(name)}
	}
	close(objects)
	var first error
	for res := range b.core.RemoveObjectsWithResult(ctx, b.cfg.Bucket, objects, minio.RemoveObjectsOptions{}) {
		if res.Err != nil && first == nil && minio.ToErrorResponse(res.Err).Code != minio.NoSuchKey {
			first = fmt.Errorf("%s: %w", res.ObjectName, res.Err)
		}
	}
	return b.explain(ctx, op, b.cfg.Bucket, first)
}
