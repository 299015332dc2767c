# Every verb sets up what it needs and is quick the second time.

GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X main.version=$(VERSION)
CACHE    := .cache
DIST     := internal/control/web/dist/index.html
WEB      := $(shell find web -type f -not -path '*/node_modules/*' -not -path '*/dist/*' 2>/dev/null)
FUZZ     ?= 200000x
BENCH    ?= .
LINT     := $(CACHE)/bin/golangci-lint
LINT_VERSION := v2.15.0
# An S3 server that tests store recordings in.
S3       := $(CACHE)/bin/versitygw
S3_VERSION := v1.8.0

.DEFAULT_GOAL := help
.PHONY: help run demo test check e2e bench fuzz build clean

help: ## Lists the verbs.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## Starts the server.
	bin/onair serve

demo: build ## Starts the server, publishes a test picture, and prints where to watch it.
	@scripts/setup.sh ffmpeg
	bin/onair serve --demo

test: $(CACHE)/tools $(DIST) $(S3) ## Runs the tests, with the race detector.
	$(GO) test -race -timeout 10m ./...

check: $(LINT) web/node_modules/.ready ## Looks for mistakes without running anything.
	$(GO) vet ./... && $(GO) vet -tags e2e ./e2e/...
	$(LINT) run
	npm --prefix web run --silent check
	npm --prefix web run --silent test

e2e: build e2e/node_modules/.ready $(S3) ## Runs the server against real encoders, players and databases.
	@scripts/setup.sh cc ffmpeg chromium gstreamer rtmpdump postgres slowhttp srt obs xvfb vlc ip
	$(GO) test -tags e2e -count 1 -parallel 12 -timeout 80m -v ./e2e/...
	scripts/fuzz.sh 20000x

bench: build ## Measures, beside nginx where it can; see docs/performance.md.
	@scripts/setup.sh nginx
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem ./internal/...

fuzz: ## Fuzzes each parser with FUZZ executions.
	scripts/fuzz.sh $(FUZZ)

build: $(DIST) ## Builds bin/onair.
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/onair ./cmd/onair

clean: ## Removes what the verbs made.
	rm -rf bin $(CACHE) web/node_modules e2e/node_modules
	git clean -qfX internal/control/web/dist

$(CACHE)/tools:
	@scripts/setup.sh cc ffmpeg srt gstreamer rtmpdump
	@mkdir -p $(CACHE) && touch $@

$(LINT):
	@echo "setup: building golangci-lint $(LINT_VERSION)"
	@GOBIN=$(abspath $(CACHE)/bin) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)

$(S3):
	@echo "setup: building versitygw $(S3_VERSION)"
	@GOBIN=$(abspath $(CACHE)/bin) $(GO) install github.com/versity/versitygw/cmd/versitygw@$(S3_VERSION)

%/node_modules/.ready: %/package-lock.json
	@echo "setup: installing the packages of $*/package-lock.json"
	@npm --prefix $* ci --loglevel=error --no-audit --no-fund >/dev/null
	@touch $@

$(DIST): web/node_modules/.ready $(WEB)
	npm --prefix web run --silent build
	@touch $@
