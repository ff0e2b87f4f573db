# make help prints the targets.

GO        ?= go
PYTHON    ?= python3
FUZZTIME  ?= 30s
TRIALS    ?= 50
TESTFLAGS ?=

# The version is that of the file VERSION in a commit tagged with it, and in an archive without
# git; any other checkout is on the way to it, and says where: 0.1.0-dev+1a2b3c4.dirty.
RELEASE  := $(shell cat VERSION)
REVISION := $(shell git describe --always --dirty --exclude '*' 2>/dev/null | tr - .)
TAG      := $(shell git describe --tags --exact-match --dirty --match 'v$(RELEASE)' 2>/dev/null)
VERSION  := $(RELEASE)$(if $(filter-out v$(RELEASE),$(TAG))$(if $(TAG),,$(REVISION)),-dev+$(REVISION))
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: help version build runtime test demo bench bench-models bench-ot bench-transformer bench-conformance man wheel wheel-test lint fuzz clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## bin/monge
	$(GO) build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/monge ./cmd/monge

version: ## print the version that is built
	@echo $(VERSION)

runtime: build ## fetch onnxruntime into the user cache, once
	bin/monge runtime install

test: runtime ## all tests; one that cannot find onnxruntime fails instead of being skipped
	MONGE_REQUIRE_RUNTIME=1 $(GO) test -timeout 10m $(TESTFLAGS) ./...

demo: runtime ## fuse, squeeze and compress the networks of testdata into demo/
	./demo.sh

bench: ## Go benchmarks of all packages
	$(GO) test -run '^$$' -bench . -benchmem ./...

bench-models: ## large random networks in bench/out (needs Debian's python3-torch)
	/usr/bin/python3 bench/models.py bench/out

bench-ot: ## optimal transport solvers against other implementations
	bench/ot/run.sh

bench-transformer: build ## train small transformers (needs Debian's python3-torch), fuse and compress them
	[ -e bench/out/transformer/post_b.onnx ] || /usr/bin/python3 bench/transformer/train.py bench/out/transformer
	/usr/bin/python3 bench/transformer/table.py bench/out/transformer

bench-lossless: runtime ## what the lossless pass does to MODELS
	$(GO) run ./bench/lossless $(MODELS)

bench-conformance: runtime ## the codec on about a thousand models of Debian's libonnx-testdata
	bench/conformance/run.sh

man: build ## man pages in bin/man, and completions of shells in bin/completions
	bin/monge man bin/man
	mkdir -p bin/completions
	for s in bash zsh fish powershell; do bin/monge completion $$s > bin/completions/monge.$$s || exit 1; done

wheel: build ## the Python package monge-onnx, in bin/wheel; pip fetches hatchling
	rm -rf bin/wheel python/LICENSE
	cp LICENSE python/LICENSE
	MONGE_VERSION='$(subst -dev,.dev0,$(VERSION))' MONGE_PROGRAM='$(CURDIR)/bin/monge' MONGE_TARGET="$$($(GO) env GOOS)/$$($(GO) env GOARCH)" \
		$(PYTHON) -m pip wheel --quiet --no-deps --wheel-dir bin/wheel ./python
	@ls bin/wheel/*.whl

wheel-test: wheel runtime ## the wheel, in a fresh environment without Go; pip fetches numpy and mypy
	PYTHON=$(PYTHON) python/test.sh bin/wheel/*.whl

lint: ## gofmt, go vet, staticcheck
	@unformatted=$$(gofmt -l .) && if [ -n "$$unformatted" ]; then echo "gofmt -w is needed for:" $$unformatted; exit 1; fi
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

fuzz: ## every fuzz target, FUZZTIME each (30s), mutants of models handed to all commands, and TRIALS kills of each kind (50)
	@for pkg in $$($(GO) list ./...); do \
		targets=$$($(GO) test -list '^Fuzz' $$pkg) || exit 1; \
		for target in $$(echo "$$targets" | grep '^Fuzz'); do \
			echo "$$pkg $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
		done; \
	done
	MONGE_REQUIRE_RUNTIME=1 MONGE_MUTANTS=$(FUZZTIME) $(GO) test -count=1 -timeout 0 -run '^TestMutants$$' -v ./cmd/monge
	MONGE_REQUIRE_RUNTIME=1 MONGE_TRIALS=$(TRIALS) $(GO) test -count=1 -timeout 0 -run '^Test(Killed|TwoWriters)$$' -v ./cmd/monge

clean: ## bin, demo, bench/out
	rm -rf bin demo bench/out
