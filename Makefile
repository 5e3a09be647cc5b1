# taskgate: every target is one line in `make help`.
GO      ?= go
TOOL    := $(GO) tool -modfile=tools/tools.mod
BUILD   ?= build
# Values from the command line may hold any character. Make must not expand a $ in
# them, and no shell may evaluate them: recipes use them as quoted variables of
# their environment, "$$NAME".
$(foreach v,ARCH AZURE_AUTH BUILD KEY NAME PARAMETERS SCOPES TASK TASKS TIMEOUT URL,$(eval override $(v) := $$(value $(v)))$(eval export $(v)))
# Tests wait for emulators more than they compute: run more packages at once than there are processors.
# make check vets the code: the tests need not do it again.
TESTING := -p 4 -parallel 4 -vet=off -timeout 20m
# The race detector sees nothing of these: they test programs that are built without it, or pages.
RACELESS := /functions/(aws|azure|local)(-worker)?$$|/(bench|docs|tools)(/|$$)|/tests/(ci|contract|docs|emulators|imports)(/|$$)
# -buildvcs: the version is stamped from the Git tag or commit, even where GOFLAGS turns that off.
RELEASE := -trimpath -buildvcs=auto -ldflags '-s -w'
LAMBDA   = CGO_ENABLED=0 GOOS=linux GOARCH="$$ARCH" $(GO) build $(RELEASE) -tags lambda.norpc

.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

run: local ## start taskgate on 127.0.0.1:8080, with the demo worker (needs Go alone)
	./build/taskgate

local: ## build build/taskgate, the one binary that serves, stores and queues
	CGO_ENABLED=0 GOARCH="$$ARCH" $(GO) build $(RELEASE) -o build/taskgate ./functions/local

aws: ## build build/aws/bootstrap (the API) and build/aws-worker/bootstrap, for Lambda
	$(LAMBDA) -o "$$BUILD"/aws/bootstrap ./functions/aws
	$(LAMBDA) -o "$$BUILD"/aws-worker/bootstrap ./functions/aws-worker

# sam build calls these two, by the logical ids in template.yaml.
build-Function build-ExampleWorker: override ARCH := arm64
build-Function:
	$(LAMBDA) -o "$$ARTIFACTS_DIR"/bootstrap ./functions/aws

build-ExampleWorker:
	$(LAMBDA) -o "$$ARTIFACTS_DIR"/bootstrap ./functions/aws-worker

sam-check: ## lint template.yaml and build it offline with the SAM CLI, from PyPI in a throw-away environment
	./infra/aws/sam-check

deploy-aws: ## sam build, sam deploy: make deploy-aws TASKS=tasks.json PARAMETERS="ApiKeys=… DeployExample=true" (needs the SAM CLI)
	@$(GO) run ./tools/deploy-aws

smoke-aws: ## try a deployed service: make smoke-aws URL=https://… KEY=… (enqueues, waits, looks up; TASK='{"task_name": …}' for a worker of yours)
	@$(GO) run ./tools/smoke

remove-aws: ## remove the stack; the table with its tasks stays, and is removed by hand
	sam delete --config-file infra/aws/samconfig.toml

azure: ## stage build/azure (the API) and build/azure-worker as the func tools want them
	@case "$$AZURE_AUTH" in ''|function-keys) ;; *) echo 'make azure: AZURE_AUTH must be function-keys, or not set' >&2; exit 2;; esac
	rm -rf "$${BUILD:?}"/azure "$$BUILD"/azure-worker
	mkdir -p "$$BUILD"/azure "$$BUILD"/azure-worker
	CGO_ENABLED=0 GOARCH="$$ARCH" $(GO) build $(RELEASE) -o "$$BUILD"/azure/taskgate ./functions/azure
	CGO_ENABLED=0 GOARCH="$$ARCH" $(GO) build $(RELEASE) -o "$$BUILD"/azure-worker/taskgate-worker ./functions/azure-worker
	cp host.json "$$BUILD"/azure/
	cp functions/azure-worker/host.json "$$BUILD"/azure-worker/
	@set -e; for app in azure azure-worker; do \
	  cp functions/$$app/local.settings.json "$$BUILD"/$$app/; \
	  for f in functions/$$app/*/function.json; do d=$$(basename $$(dirname $$f)); mkdir -p "$$BUILD"/$$app/$$d; cp $$f "$$BUILD"/$$app/$$d/; done; \
	done
	@if [ "$$AZURE_AUTH" = function-keys ]; then \
	  sed 's/"anonymous"/"function"/' functions/azure/api/function.json >"$$BUILD"/azure/api/function.json && \
	  cp -r functions/azure/function-keys/events "$$BUILD"/azure/; fi

deploy-azure: ## make what infra/azure describes, and publish the apps (needs terraform, az and func)
	terraform -chdir=infra/azure init -input=false
	terraform -chdir=infra/azure apply
	GOOS=linux $(MAKE) azure ARCH=amd64
	app=$$(terraform -chdir=infra/azure output -raw app) && cd "$$BUILD"/azure && func azure functionapp publish "$$app" --custom
	@app=$$(terraform -chdir=infra/azure output -raw worker_app); test -z "$$app" || { cd "$$BUILD"/azure-worker && func azure functionapp publish "$$app" --custom; }

smoke-azure: ## the same: make smoke-azure KEY=… (URL is Terraform's output, unless it is given)
	@test -n "$$URL" || URL=$$(terraform -chdir=infra/azure output -raw url) || exit; export URL; $(GO) run ./tools/smoke

azure-check: ## terraform fmt, validate and test of infra/azure, without an account (the first time it builds the provider: half an hour)
	./infra/azure/check

remove-azure: ## remove all that infra/azure made in Azure, the tasks included; asks first
	terraform -chdir=infra/azure destroy

test: test-go ## run all tests, installing what they need

test-go: emulators contract-tools ## run the tests in Go, which need the emulators and the tools of tests/contract
	$(GO) test $(TESTING) ./...

race: emulators ## run the Go tests under the race detector, where it can find something (part of make check)
	$(GO) test $(TESTING) -race -short $$($(GO) list ./... | grep -vE '$(RACELESS)')

check: ## check the format, the code (vet, staticcheck), go.mod and the imports, and run the race tests
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$unformatted" || { echo "not gofmt'ed: $$unformatted"; exit 1; }
	$(GO) vet ./...
	$(TOOL) staticcheck -checks inherit,-ST1005 ./... # ST1005: a suite's errors begin with the method that broke its contract
	$(GO) mod tidy -diff
	$(GO) test -count=1 ./tests/imports
	$(MAKE) race

vuln: ## look the dependencies up in the vulnerability database; fails where that cannot be reached
	./tools/vuln ./...

release: ## build the archives, SBOMs and checksums of a tagged commit into build/release (docs/releasing.md)
	$(GO) run ./tools/release

emulators: tests/emulators/node_modules/.installed ## install the emulators from their lockfile (needs Node)

tests/emulators/node_modules/.installed: tests/emulators/package-lock.json
	@if command -v npm >/dev/null; then cd tests/emulators && npm ci --ignore-scripts --no-audit --no-fund && touch node_modules/.installed; \
	elif [ "$(CI)" = true ]; then echo "npm is missing" >&2; exit 1; \
	else echo "SKIPPED: the emulators need Node and npm; the tests that use them will skip" >&2; fi

contract-tools: tests/contract/.venv/.installed ## install the linters and client generators that tests/contract uses (needs Node and Python)

tests/contract/.venv/.installed: tests/contract/package-lock.json tests/contract/requirements.txt
	@if command -v npm >/dev/null && command -v python3 >/dev/null; then cd tests/contract && npm ci --ignore-scripts --no-audit --no-fund && \
	  python3 -m venv .venv && .venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt && touch .venv/.installed; \
	elif [ "$(CI)" = true ]; then echo "npm or python3 is missing" >&2; exit 1; \
	else echo "SKIPPED: the contract's tools need Node, npm and Python; the tests that use them will skip" >&2; fi

mutants: ## show that each deliberate defect is caught by its case of the contract suites
	$(GO) test -count=1 -run Mutant -v ./core/... ./tests/...

bench: ## measure, side by side with peers and floors (docs/performance.md)
	./bench/run

soak: emulators ## run the long tests for hours: tens of thousands of kills, seeds and histories, and each fuzz target for 10 minutes
	TASKGATE_SOAK=1 $(GO) test -count=1 -timeout 60m -run Soak -v ./tests/simulation ./functions/local ./adapters/aws/dynamostore
	TASKGATE_SOAK=1 $(GO) test -count=1 -run Mutants ./tests/faults
	FUZZTIME=10m ./tools/fuzz

fuzz: export FUZZTIME ?= 10s
fuzz: ## fuzz every parser, each for FUZZTIME: make fuzz FUZZTIME=1m
	./tools/fuzz

generate: ## make openapi.json from openapi.yaml
	$(GO) generate ./...

fmt: ## gofmt every file
	gofmt -w $$(git ls-files '*.go')

key: ## mint an API key: make key NAME=shop SCOPES=enqueue+read
	@$(GO) run ./tools/key "$$NAME" $${SCOPES:+"$$SCOPES"}

clean: ## remove what was built
	rm -rf build

.PHONY: contract-tools help run local aws build-Function build-ExampleWorker sam-check deploy-aws smoke-aws remove-aws azure azure-check deploy-azure smoke-azure remove-azure test test-go race check vuln release emulators mutants bench soak fuzz generate fmt key clean
