/* What every unit test includes first: cmocka with the headers it wants before it. */
#ifndef ZL_TESTS_UNIT_UNIT_H
#define ZL_TESTS_UNIT_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#endif
