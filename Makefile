# taskgate: every target is one line in `make help`.
GO      ?= go
ARCH    ?= $(shell $(GO) env GOARCH)
TOOL    := $(GO) tool -modfile=tools.mod
RELEASE := -trimpath -ldflags '-s -w'

.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

run: local ## start taskgate on 127.0.0.1:8080, with the demo worker (needs Go alone)
	./build/taskgate

local: ## build build/taskgate, the one binary that serves, stores and queues
	CGO_ENABLED=0 GOARCH=$(ARCH) $(GO) build $(RELEASE) -o build/taskgate ./functions/local

test: emulators ## run all tests, installing the emulators that they need
	$(GO) test -timeout 10m ./...

race: emulators ## run the tests under the race detector (a part of make check)
	$(GO) test -race -short -timeout 10m ./...

check: ## gofmt, vet, staticcheck, race tests, import rules, tidy go.mod
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$unformatted" || { echo "not gofmt'ed: $$unformatted"; exit 1; }
	$(GO) vet ./...
	$(TOOL) staticcheck ./...
	$(GO) mod tidy -diff
	$(GO) test -count=1 ./internal/imports
	$(MAKE) race

vuln: ## look the dependencies up in the vulnerability database
	$(TOOL) govulncheck ./...

emulators: emulators/node_modules/.installed ## install the emulators from their lockfile (needs Node)

emulators/node_modules/.installed: emulators/package-lock.json
	@if command -v npm >/dev/null; then cd emulators && npm ci --ignore-scripts --no-audit --no-fund && touch node_modules/.installed; \
	elif [ "$(CI)" = true ]; then echo "npm is missing" >&2; exit 1; \
	else echo "SKIPPED: the emulators need Node and npm; the tests that use them will skip" >&2; fi

mutants: ## show that each deliberate defect is caught by its case of the contract suites
	$(GO) test -count=1 -run Mutant -v ./core/...

bench: ## measure, side by side with peers and floors (docs/performance.md)
	./bench/run

soak: ## the long runs: kills under load, again and again
	TASKGATE_SOAK=1 $(GO) test -count=1 -timeout 60m -run Soak -v ./functions/local

generate: ## make openapi.json from openapi.yaml
	$(GO) generate ./...

fmt: ## gofmt every file
	gofmt -w $$(git ls-files '*.go')

key: ## mint an API key: make key NAME=shop SCOPES=enqueue+read
	@$(GO) run ./tools/key $(NAME) $(SCOPES)

clean: ## remove what was built
	rm -rf build

.PHONY: help run local test race check vuln emulators mutants bench soak generate fmt key clean
