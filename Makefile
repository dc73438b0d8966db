# Two commands on a fresh machine with Rust, Node and a C compiler: `make demo` and `make test`. Everything else installs itself.

BIN := target/ci/regimeflow
CARGO ?= cargo

.PHONY: demo test explore build engine bench soak clean

# A simulated market through the whole pipeline, with what was found at the end.
demo: build
	$(BIN) demo

# All tests. They use the embedded engine, real sockets on loopback, and the recordings in ../shared/data where present.
# Random cases are the same in every run; `make explore` takes others, and more of them.
test: export PROPTEST_RNG_SEED ?= 1
test: engine
	$(CARGO) test --workspace --locked

explore: export REGIMEFLOW_SEED ?= random
explore: export REGIMEFLOW_CASES ?= 5
explore: engine
	$(CARGO) test --workspace --locked

build:
	$(CARGO) build --locked --profile ci

# The embedded ClickHouse engine (an npm package, checked against its sha512). Elsewhere than on Linux x64 it installs nothing.
engine: node_modules/.package-lock.json

node_modules/.package-lock.json: package.json package-lock.json
	npm ci --no-audit --no-fund
	@touch $@

# Speed, each figure beside the parse-only rate of the same run.
bench: build engine
	$(BIN) bench parse
	$(BIN) bench pipeline
	$(BIN) bench scale
	$(BIN) bench store
	$(BIN) bench hmm
	$(CARGO) bench --locked --profile ci --bench parse

# Random faults for MINUTES, and a verdict: a replay that is killed again and again, a live run against a venue that goes wrong. SEED=n takes the same
# faults again; MODE is both, exact, live, or burst (fifty times the usual for a minute).
MINUTES ?= 30
MODE ?= both
soak: engine
	$(CARGO) build --locked --profile ci --bins --example soak
	target/ci/examples/soak --minutes $(MINUTES) --mode $(MODE) $(if $(SEED),--seed $(SEED))

clean:
	$(CARGO) clean
	rm -rf node_modules
