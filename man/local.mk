# SPDX-License-Identifier: Apache-2.0
# The manual. A page of section 3 describes a family of calls; it is installed once under its own
# name, and as a link under every other name that its NAME section lists.
dist_man_MANS += \
	man/blaze-db.1 \
	man/blaze-perf.1 \
	man/blaze-ring.1 \
	man/blaze-format.5 \
	man/blaze_db_conflicts.3 \
	man/blaze_db_open.3 \
	man/blaze_db_position.3 \
	man/blaze_db_watch.3 \
	man/blaze_id_new.3 \
	man/blaze_record.3 \
	man/blaze_ring_attach.3 \
	man/blaze_store.3 \
	man/blaze_topology.3 \
	man/blaze_txn.3 \
	man/blazeshm.7

install_data_hooks += install-manual-links
uninstall_hooks += uninstall-manual-links

# For each link: the page, a blank, the link's name.
manual_links = for page in $(dist_man_MANS); do \
	case $$page in *.3) \
		name=$${page\#\#*/}; \
		sed -n '/^\.Sh NAME/,/^\.Nd/s/^\.Nm \([A-Za-z0-9_]*\).*/\1/p' "$(srcdir)/$$page" | \
			while read -r call; do \
				test "$$call.3" = "$$name" || echo "$$name $$call.3"; \
			done;; \
	esac; done

.PHONY: install-manual-links uninstall-manual-links
install-manual-links:
	@$(manual_links) | while read -r page link; do \
		rm -f "$(DESTDIR)$(man3dir)/$$link" && \
		$(LN_S) "$$page" "$(DESTDIR)$(man3dir)/$$link" || exit 1; \
	done

uninstall-manual-links:
	@$(manual_links) | while read -r page link; do \
		rm -f "$(DESTDIR)$(man3dir)/$$link"; \
	done
