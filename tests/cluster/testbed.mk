# A real Kubernetes on this machine; docs/testbed.md says what it is and what it needs.
TESTBED = cd tests/cluster && ../../$(BIN)/python -m testbed

.PHONY: cluster cluster-down cluster-status cluster-build

cluster: setup ## Start Kubernetes on this machine, in a network namespace of its own
	@$(TESTBED) up

cluster-down: setup ## Stop it and leave nothing behind
	@$(TESTBED) down

cluster-status: setup ## Say whether it is Ready
	@$(TESTBED) status

cluster-build: setup ## Build its programs now (15 minutes from nothing, seconds after that)
	@$(TESTBED) build
