package bucket

import (
	"context"
	"errors"
	"net/http"

	"github.com/minio/minio-go/v7"

	"onair/internal/fault"
)

// explain makes a fault of what the client says: of a bucket that refuses with what is wrong
// and what to do.
func (b *Bucket) explain(ctx context.Context, op, subject string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var res minio.ErrorResponse
	if !errors.As(err, &res) {
		return fault.Wrap(fault.Unavailable, op, subject, err, "See whether the S3 server "+b.cfg.Endpoint+" runs and can be reached")
	}
	refused := func(kind fault.Kind, hint string) error { return fault.Wrap(kind, op, subject, err, hint) }
	switch res.Code {
	case minio.NoSuchKey:
		return refused(fault.NotFound, "")
	case minio.NoSuchBucket:
		return refused(fault.Unavailable, "Make the bucket "+b.cfg.Bucket+", or name another one (record-s3-bucket)")
	case "InvalidAccessKeyId", "XAdminUserNotFound": // the second one is versitygw's
		return refused(fault.Unauthorized, "The server does not know the access key "+b.cfg.AccessKey+": see record-s3-access-key")
	case "SignatureDoesNotMatch":
		return refused(fault.Unauthorized, "The secret key is not the one of "+b.cfg.AccessKey+": see record-s3-secret-key")
	case "RequestTimeTooSkewed":
		return refused(fault.Unauthorized, "Set this machine's clock right")
	case minio.AuthorizationHeaderMalformed, minio.InvalidRegion, "PermanentRedirect":
		return refused(fault.Invalid, "The bucket is in another region than "+b.cfg.Region+": see record-s3-region")
	case minio.AccessDenied, "AllAccessDisabled", "AccountProblem":
		return refused(fault.Forbidden, "Let the access key "+b.cfg.AccessKey+" list, read, write and delete in the bucket "+b.cfg.Bucket)
	case "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded":
		return refused(fault.TooLarge, "The bucket is full: delete recordings, or give it more room")
	}
	switch res.StatusCode {
	case http.StatusForbidden, http.StatusUnauthorized:
		return refused(fault.Forbidden, "Let the access key "+b.cfg.AccessKey+" list, read, write and delete in the bucket "+b.cfg.Bucket)
	case http.StatusInsufficientStorage:
		return refused(fault.TooLarge, "The bucket is full: delete recordings, or give it more room")
	}
	return refused(fault.Unavailable, "The S3 server "+b.cfg.Endpoint+" cannot answer now; see its log")
}
