#include "db/store/answer.h"

const char *map_answer_name(enum map_answer answer)
{
	switch (answer) {
	case MAP_FOUND:
		return "found";
	case MAP_NOT_FOUND:
		return "not found";
	case MAP_COULD_NOT_TELL:
		break;
	}
	return "could not tell";
}
