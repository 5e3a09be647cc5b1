package dynamostore

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// The attributes of the table's key and of what is no member of the record.
const (
	keyAttribute      = "id"       // the record's own
	revisionAttribute = "revision" // a number, changed by every write
	shardAttribute    = "shard"    // of the listing
	positionAttribute = "position" // its place there: enqueued_at#id

	// TTLAttribute is when DynamoDB may delete the item, in Unix seconds.
	// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html
	TTLAttribute = "ttl"
)

// ListingIndex is the index that List reads.
const ListingIndex = "listing"

// Definition returns the definition of a table for the store. The time to live, by
// [TTLAttribute], is set by another API call.
func Definition(name string) *dynamodb.CreateTableInput {
	attribute := func(name string, t types.ScalarAttributeType) types.AttributeDefinition {
		return types.AttributeDefinition{AttributeName: &name, AttributeType: t}
	}
	key := func(name string, t types.KeyType) types.KeySchemaElement {
		return types.KeySchemaElement{AttributeName: &name, KeyType: t}
	}
	return &dynamodb.CreateTableInput{
		TableName:   &name,
		BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{
			attribute(keyAttribute, types.ScalarAttributeTypeS),
			attribute(shardAttribute, types.ScalarAttributeTypeN),
			attribute(positionAttribute, types.ScalarAttributeTypeS),
		},
		KeySchema: []types.KeySchemaElement{key(keyAttribute, types.KeyTypeHash)},
		GlobalSecondaryIndexes: []types.GlobalSecondaryIndex{{
			IndexName:  aws.String(ListingIndex),
			KeySchema:  []types.KeySchemaElement{key(shardAttribute, types.KeyTypeHash), key(positionAttribute, types.KeyTypeRange)},
			Projection: &types.Projection{ProjectionType: types.ProjectionTypeAll},
		}},
	}
}
