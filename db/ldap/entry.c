#include "db/ldap/entry.h"

#include <stdlib.h>
#include <string.h>

#include "db/ldap/sieve.h"
#include "lib/alloc.h"
#include "lib/text.h"

static struct ldap_attribute *attribute_named(struct ldap_entry *entry, const char *name, size_t n)
{
	struct ldap_attribute *a;
	char *copy = xstrndup(name, n);

	for (size_t i = 0; i < entry->count; i++) {
		if (ascii_equal(entry->attributes[i].name, copy)) {
			free(copy);
			return &entry->attributes[i];
		}
	}
	entry->attributes = xreallocarray(entry->attributes, entry->count + 1, sizeof *entry->attributes);
	a = &entry->attributes[entry->count++];
	*a = (struct ldap_attribute){ .name = copy };
	return a;
}

static int compare_values(const void *a, const void *b)
{
	const struct ldap_value *x = a, *y = b;
	int difference = memcmp(x->bytes, y->bytes, x->length < y->length ? x->length : y->length);

	return difference != 0 ? difference : (x->length > y->length) - (x->length < y->length);
}

static void add_value(struct ldap_attribute *a, const char *bytes, size_t length)
{
	char *copy = xmalloc(length + 1);

	memcpy(copy, bytes, length);
	copy[length] = '\0';
	a->values = xreallocarray(a->values, a->count + 1, sizeof *a->values);
	a->values[a->count++] = (struct ldap_value){ copy, length };
}

static void sort_values(struct ldap_attribute *a)
{
	qsort(a->values, a->count, sizeof *a->values, compare_values);
}

bool ldap_entry_read(struct ldap_entry *entry, LDAP *ld, LDAPMessage *message)
{
	struct berval dn, name, *values = NULL;
	BerElement *ber = NULL;
	int code;

	*entry = (struct ldap_entry){ 0 };
	code = ldap_get_dn_ber(ld, message, &ber, &dn);
	if (code == LDAP_SUCCESS)
		entry->dn = xstrndup(dn.bv_val, dn.bv_len);
	while (code == LDAP_SUCCESS) {
		const char *option;
		size_t n;

		code = ldap_get_attribute_ber(ld, message, ber, &name, &values);
		if (code != LDAP_SUCCESS || name.bv_val == NULL)
			break;
		entry->is_cut = entry->is_cut ||
		                (name.bv_len == sizeof SIEVE_MARK - 1 && memcmp(name.bv_val, SIEVE_MARK, name.bv_len) == 0);
		option = memchr(name.bv_val, ';', name.bv_len);
		n = option != NULL ? (size_t)(option - name.bv_val) : name.bv_len;
		if (values != NULL && values[0].bv_val != NULL) {
			struct ldap_attribute *a = attribute_named(entry, name.bv_val, n);

			for (size_t i = 0; values[i].bv_val != NULL; i++)
				add_value(a, values[i].bv_val, values[i].bv_len);
			sort_values(a);
		}
		ber_memfree(values);
		values = NULL;
	}
	if (ber != NULL)
		ber_free(ber, 0);
	return code == LDAP_SUCCESS;
}

void ldap_entry_add(struct ldap_entry *entry, const char *attribute, const char *bytes, size_t length)
{
	struct ldap_attribute *a = attribute_named(entry, attribute, strlen(attribute));

	add_value(a, bytes, length);
	sort_values(a);
}

void ldap_entry_free(struct ldap_entry *entry)
{
	for (size_t i = 0; i < entry->count; i++) {
		struct ldap_attribute *a = &entry->attributes[i];

		for (size_t k = 0; k < a->count; k++)
			free(a->values[k].bytes);
		free(a->values);
		free(a->name);
	}
	free(entry->attributes);
	free(entry->dn);
	*entry = (struct ldap_entry){ 0 };
}

const struct ldap_attribute *ldap_entry_find(const struct ldap_entry *entry, const char *attribute)
{
	for (size_t i = 0; i < entry->count; i++)
		if (ascii_equal(entry->attributes[i].name, attribute))
			return &entry->attributes[i];
	return NULL;
}

static bool is_among(char *const *list, const char *name)
{
	for (size_t i = 0; list != NULL && list[i] != NULL; i++) {
		const char *a = list[i], *b = name;

		while (*b != '\0' && ascii_lower(*a) == ascii_lower(*b))
			a++, b++;
		if (*b == '\0' && (*a == '\0' || *a == ';'))
			return true;
	}
	return false;
}

const char *ldap_entry_unasked(const struct ldap_entry *entry, char *const *asked)
{
	for (size_t i = 0; i < entry->count; i++)
		if (!is_among(asked, entry->attributes[i].name))
			return entry->attributes[i].name;
	return NULL;
}
