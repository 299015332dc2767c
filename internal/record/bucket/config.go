package bucket

import (
	"errors"
	"net"
	"net/url"
	"strings"

	"onair/internal/fault"
)

// Config says which bucket. Without an Endpoint there is none.
type Config struct {
	Endpoint  string `name:"record-s3-endpoint" yaml:"s3_endpoint" env:"ONAIR_RECORD_S3_ENDPOINT" help:"S3 server for recordings, such as https://s3.eu-central-1.amazonaws.com; by default they stay in the data folder." default:""`
	Bucket    string `name:"record-s3-bucket" yaml:"s3_bucket" env:"ONAIR_RECORD_S3_BUCKET" help:"Bucket for recordings. It has to be there." default:""`
	Region    string `name:"record-s3-region" yaml:"s3_region" env:"ONAIR_RECORD_S3_REGION" help:"Region of the bucket." default:"us-east-1"`
	AccessKey string `name:"record-s3-access-key" yaml:"s3_access_key" env:"ONAIR_RECORD_S3_ACCESS_KEY" help:"Access key of the bucket: it has to allow s3:ListBucket, s3:GetObject, s3:PutObject and s3:DeleteObject." default:""`
	// SecretKey is never told: not in logs, not in errors.
	SecretKey Secret `name:"record-s3-secret-key" yaml:"s3_secret_key" env:"ONAIR_RECORD_S3_SECRET_KEY" help:"Secret key of the bucket; better in the environment than on the command line." default:""`
	Prefix    string `name:"record-s3-prefix" yaml:"s3_prefix" env:"ONAIR_RECORD_S3_PREFIX" help:"What the names of all objects begin with, as a folder." default:""`
	PathStyle bool   `name:"record-s3-path-style" yaml:"s3_path_style" env:"ONAIR_RECORD_S3_PATH_STYLE" help:"Put the bucket's name into the path of addresses and not into their host, as most servers but Amazon's want it." default:"true" negatable:""`
}

// Secret is a text that is not shown.
type Secret string

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "(hidden)"
}

// GoString hides the secret.
func (s Secret) GoString() string { return s.String() }

// DefaultConfig returns the settings that are used where none are given: no bucket.
func DefaultConfig() Config { return Config{Region: "us-east-1", PathStyle: true} }

// Enabled reports whether there is a bucket.
func (c Config) Enabled() bool { return c.Endpoint != "" }

// Validate returns a fault for each setting that cannot work.
func (c Config) Validate() error {
	var errs []error
	bad := func(key, cause, hint string) {
		errs = append(errs, fault.New(fault.Invalid, "configure the bucket of recordings", key, cause, hint))
	}
	if !c.Enabled() {
		if c.Bucket != "" {
			bad("record-s3-endpoint", "there is a bucket and no server", "Give the address of its S3 server, such as https://s3.eu-central-1.amazonaws.com")
		}
		return errors.Join(errs...)
	}
	if _, _, err := c.host(); err != nil {
		bad("record-s3-endpoint", err.Error(), "Write https://host or http://host:port")
	}
	if c.Bucket == "" || strings.ContainsAny(c.Bucket, "/ ") {
		bad("record-s3-bucket", "it is missing or no bucket's name", "Name a bucket that is there")
	}
	if c.Region == "" {
		bad("record-s3-region", "it is missing", "us-east-1 is right for most servers but Amazon's")
	}
	if c.AccessKey == "" || c.SecretKey == "" {
		bad("record-s3-access-key", "it or record-s3-secret-key is missing", "Give both; the secret best as ONAIR_RECORD_S3_SECRET_KEY")
	}
	if strings.ContainsAny(c.Prefix, " \\?#") || strings.Contains(c.Prefix, "//") || strings.Contains(c.Prefix, "..") {
		bad("record-s3-prefix", "objects cannot be called so", "Write letters and digits, with slashes between folders")
	}
	return errors.Join(errs...)
}

// host takes the endpoint apart.
func (c Config) host() (host string, secure bool, err error) {
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || strings.Trim(u.Path, "/") != "" || u.User != nil {
		return "", false, errors.New("it is not the address of a server")
	}
	if strings.HasSuffix(u.Host, ":") || net.ParseIP(u.Hostname()) == nil && strings.ContainsAny(u.Hostname(), "_ ") {
		return "", false, errors.New("it is not the address of a server")
	}
	return u.Host, u.Scheme == "https", nil
}
