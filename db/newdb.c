/*
 * newdb: builds maps from their texts.  Called as makedb it takes the arguments of ZMailer's makedb.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "db/map/map.h"
#include "db/source/build.h"
#include "db/source/source.h"
#include "lib/alloc.h"
#include "lib/log.h"
#include "lib/options.h"

static int run(const char*type,const char*base,const char*in,bool a){
	struct source s={.path=in,.syntax={a,'l'}};
	struct records r={0};
	struct buf why={0};
	struct build b={.type=type,.target=xasprintf("%s%s",base,map_suffix(type)),.uid=(uid_t)-1,.gid=(gid_t)-1,.stamp={.source=(char*)in,.folding='l',.syntax='p'}};
	int st=source_read(&s,&r);
	if(st)return st;
	st=build_map(&b,&r,&why);
	if(st)complain("%s",buf_str(&why));
	return st;
}
int main(int c,char**v){(void)c;return run(v[1],v[2],v[3],false);}
