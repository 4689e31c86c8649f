CC ?= cc
CFLAGS ?= -O2

specmask.so: plugin.c specmask.c specmask.h model.c model.h
	$(CC) $(CFLAGS) -std=c99 -fPIC -fvisibility=hidden -shared $(LDFLAGS) -o $@ plugin.c specmask.c model.c -lm

install: specmask.so
	mkdir -p $(HOME)/.ladspa
	cp specmask.so $(HOME)/.ladspa

clean:
	rm -f specmask.so

.PHONY: install clean
